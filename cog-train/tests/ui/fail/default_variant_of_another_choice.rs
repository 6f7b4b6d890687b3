use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    AdamW,
    Sgd,
}

#[derive(Choice)]
enum Schedule {
    Cosine,
}

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = Schedule::Cosine)]
    value: Optimizer,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
