#[cog_train::train]
fn train(steps: u32) -> () {
    drop(steps);
}

cog_train::run!(train);
