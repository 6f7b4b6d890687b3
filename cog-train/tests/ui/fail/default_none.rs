use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = None)]
    value: Option<u32>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
