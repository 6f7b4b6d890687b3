use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: [f64; 2],
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
