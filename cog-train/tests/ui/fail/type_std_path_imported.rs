use cog_train::TrainInputs;
use std::path::Path;

#[derive(TrainInputs)]
struct Inputs {
    other: u32,
    value: Path,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
