use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: (u32, u32),
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
