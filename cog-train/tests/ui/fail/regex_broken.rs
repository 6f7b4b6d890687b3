use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(regex = "^[a-z")]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
