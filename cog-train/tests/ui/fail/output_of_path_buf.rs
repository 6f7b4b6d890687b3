use cog_train::prelude::*;

#[derive(TrainOutput)]
struct TrainingOutput {
    weights: std::path::PathBuf,
}

fn main() {}
