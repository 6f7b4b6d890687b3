use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 3)]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
