use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 3, ge = 1)]
    value: Box<u32>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
