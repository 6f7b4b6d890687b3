use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: char,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
