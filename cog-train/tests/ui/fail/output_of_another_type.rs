use cog_train::prelude::*;

#[derive(TrainOutput)]
struct TrainingOutput {
    loss: f64,
    time: std::time::Instant,
}

fn main() {}
