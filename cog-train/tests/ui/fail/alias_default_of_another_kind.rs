use cog_train::prelude::*;

type Value = f64;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "a")]
    value: Option<Value>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
