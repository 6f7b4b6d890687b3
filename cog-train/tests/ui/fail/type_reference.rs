use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: &'static str,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
