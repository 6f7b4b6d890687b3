use cog_train::prelude::*;

type Value = f64;

const RATE: f64 = 0.1;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = RATE)]
    value: Value,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
