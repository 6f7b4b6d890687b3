use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = [0.1, 0.2])]
    value: f64,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
