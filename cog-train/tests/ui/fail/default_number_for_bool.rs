use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1)]
    value: bool,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
