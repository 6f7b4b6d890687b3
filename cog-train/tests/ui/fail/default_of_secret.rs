use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "hf_1234")]
    value: Secret,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
