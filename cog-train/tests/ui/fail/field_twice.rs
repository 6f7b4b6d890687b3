use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: u32,
    r#value: u32,
}

fn main() {}
