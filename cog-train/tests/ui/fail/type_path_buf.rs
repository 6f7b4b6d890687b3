use cog_train::prelude::*;
use std::path::PathBuf;

#[derive(TrainInputs)]
struct Inputs {
    value: Option<PathBuf>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
