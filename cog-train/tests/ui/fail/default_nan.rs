use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = f64::NAN)]
    value: f64,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
