#[cog_train::train]
fn train(steps: u32) -> u32 {
    steps
}

cog_train::run!(Finetune);
