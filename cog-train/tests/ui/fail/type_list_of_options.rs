use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: Vec<Option<String>>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
