use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = ["adam", 1])]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
