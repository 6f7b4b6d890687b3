use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs(u32, String);

fn main() {}
