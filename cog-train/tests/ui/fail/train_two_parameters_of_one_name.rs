#[cog_train::train]
fn train(_a: u32, _a: u32) -> u32 {
    3
}

cog_train::run!(train);
