use cog_train::prelude::*;

type Value = Vec<u32>;

#[derive(TrainInputs)]
struct Inputs {
    value: Vec<Value>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
