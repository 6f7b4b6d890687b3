use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(min = 3)]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
