use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1000000000000000000000000000000000000000)]
    value: u64,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
