use cog_train::prelude::*;

#[derive(TrainInputs)]
#[input(default = 3)]
struct Inputs {
    value: u32,
}

fn main() {}
