use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1e999)]
    value: f64,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
