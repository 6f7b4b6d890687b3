use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1 << 4)]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
