use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 2e-3, le = 1e-3)]
    value: f64,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
