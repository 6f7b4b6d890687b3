use cog_train::prelude::*;

#[derive(TrainInputs)]
union Inputs {
    a: u32,
    b: f32,
}

fn main() {}
