use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: std::time::Duration,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
