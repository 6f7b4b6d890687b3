use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: Strng,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
