use cog_train::prelude::*;

#[derive(TrainInputs)]
enum Inputs {
    A,
}

fn main() {}
