use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: u128,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
