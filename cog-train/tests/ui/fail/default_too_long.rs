use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "abc", max_length = 2)]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
