use cog_train::prelude::*;

type Value = String;

#[derive(TrainInputs)]
struct Inputs {
    #[input(ge = 1)]
    value: Value,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
