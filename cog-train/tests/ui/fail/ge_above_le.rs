use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(ge = 5, le = 1)]
    value: f64,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
