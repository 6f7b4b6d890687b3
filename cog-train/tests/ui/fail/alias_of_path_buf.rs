use cog_train::prelude::*;

type File = std::path::PathBuf;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "a")]
    value: File,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
