use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    AdamW,
    Sgd,
}

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "adamw")]
    value: Optimizer,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
