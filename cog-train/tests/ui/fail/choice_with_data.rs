use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    Adam,
    Sgd { momentum: f64 },
}

fn main() {}
