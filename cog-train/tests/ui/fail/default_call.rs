use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = String::new())]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
