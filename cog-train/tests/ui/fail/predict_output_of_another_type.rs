use cog_train::prelude::*;

#[derive(PredictOutput)]
struct Answer {
    time: std::time::Instant,
}

fn main() {}
