use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 256)]
    value: u8,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
