use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
