#[cog_train::train]
fn train(
    /// A number.
    #[input(default = 0, ge = 1)]
    steps: u32,
) -> u32 {
    steps
}

cog_train::run!(train);
