use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    AdamW,
    Sgd,
}

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = Optimizer::AdamW)]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
