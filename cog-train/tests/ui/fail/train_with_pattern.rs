#[cog_train::train]
fn train((a, b): (u32, u32)) -> u32 {
    a + b
}

cog_train::run!(train);
