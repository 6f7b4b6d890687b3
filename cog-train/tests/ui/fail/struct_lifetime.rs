use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs<'a> {
    value: &'a str,
}

fn main() {}
