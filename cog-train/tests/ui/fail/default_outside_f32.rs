use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1e39)]
    value: f32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
