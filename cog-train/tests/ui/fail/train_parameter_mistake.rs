#[cog_train::train]
fn train(
    /// How many.
    #[input(default = 0, ge = 1)]
    steps: u32,
) -> u32 {
    steps
}

cog_train::run!(train);
