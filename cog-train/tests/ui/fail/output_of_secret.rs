use cog_train::prelude::*;

#[derive(TrainOutput)]
struct TrainingOutput {
    token: Option<Secret>,
}

fn main() {}
