#[cog_train::train(steps = 3)]
fn train(steps: u32) -> u32 {
    steps
}

cog_train::run!(train);
