use cog_train::prelude::*;

#[derive(TrainOutput)]
struct TrainingOutput(Path);

fn main() {}
