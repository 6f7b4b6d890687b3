use cog_train::prelude::*;

type Value = u32;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = [1])]
    value: Value,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
