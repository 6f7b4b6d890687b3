use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "rmsprop", choices = ["adam", "sgd"])]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
