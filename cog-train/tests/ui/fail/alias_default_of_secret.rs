use cog_train::prelude::*;

type Value = Secret;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "a")]
    value: Value,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
