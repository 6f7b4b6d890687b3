use cog_train::prelude::*;

#[derive(TrainOutput)]
struct TrainingOutput {
    loss: Option<Option<f64>>,
}

fn main() {}
