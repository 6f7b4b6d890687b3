use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs
where
    String: Clone,
{
    value: u32,
}

fn main() {}
