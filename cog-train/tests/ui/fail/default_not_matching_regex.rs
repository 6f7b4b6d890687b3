use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "Run 1", regex = "^[a-z0-9-]+$")]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
