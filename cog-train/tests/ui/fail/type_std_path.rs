use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: std::path::PathBuf,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
