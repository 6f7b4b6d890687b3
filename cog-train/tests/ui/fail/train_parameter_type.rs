#[cog_train::train]
fn train(data: std::path::PathBuf) -> u32 {
    data.components().count() as u32
}

cog_train::run!(train);
