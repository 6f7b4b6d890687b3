use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = -1, ge = 0)]
    value: i32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
