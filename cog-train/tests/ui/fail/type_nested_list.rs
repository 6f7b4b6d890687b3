use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: Vec<Vec<String>>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
