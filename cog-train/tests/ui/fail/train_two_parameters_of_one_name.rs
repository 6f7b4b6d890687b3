#[cog_train::train]
fn train(a: u32, a: u32) -> u32 {
    a
}

cog_train::run!(train);
