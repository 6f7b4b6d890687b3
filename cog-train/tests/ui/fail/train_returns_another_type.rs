#[cog_train::train]
fn train() -> std::time::Instant {
    std::time::Instant::now()
}

cog_train::run!(train);
