use cog_train::prelude::*;

type Value = u8;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 256)]
    value: Value,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
