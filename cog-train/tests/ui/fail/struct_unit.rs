use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs;

fn main() {}
