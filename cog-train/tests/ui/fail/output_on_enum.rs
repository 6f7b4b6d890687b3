use cog_train::prelude::*;

#[derive(TrainOutput)]
enum TrainingOutput {
    A,
}

fn main() {}
