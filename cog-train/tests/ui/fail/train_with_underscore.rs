#[cog_train::train]
fn train(_: u32) -> u32 {
    3
}

cog_train::run!(train);
