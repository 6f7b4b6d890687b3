use cog_train::prelude::*;

enum Optimizer {
    AdamW,
}

#[derive(TrainInputs)]
struct Inputs {
    value: Optimizer,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
