use cog_train::prelude::*;

#[derive(TrainOutput)]
struct Output {
    weights: Path,
}

fn main() {}
