use cog_train::prelude::*;

#[derive(TrainInputs, PredictInputs)]
struct Inputs {
    #[input(ge = 2, le = 1)]
    value: u32,
}

fn main() {}
