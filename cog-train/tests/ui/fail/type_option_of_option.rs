use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: Option<Option<u32>>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
