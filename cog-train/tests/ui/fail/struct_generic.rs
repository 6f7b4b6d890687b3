use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs<T> {
    value: T,
}

fn main() {}
