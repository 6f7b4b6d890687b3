use cog_train::prelude::*;

const EPOCHS: u32 = 3;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = EPOCHS)]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
