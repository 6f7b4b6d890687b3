use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = "adam")]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
