use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    Adam,
    Sgd(f64),
}

fn main() {}
