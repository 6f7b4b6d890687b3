use cog_train::prelude::*;

type Value = u64;

#[derive(TrainInputs)]
struct Inputs {
    #[input(regex = "^a$")]
    value: Value,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
