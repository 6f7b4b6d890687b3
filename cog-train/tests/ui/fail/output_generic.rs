use cog_train::prelude::*;

#[derive(TrainOutput)]
struct TrainingOutput<T> {
    value: T,
}

fn main() {}
