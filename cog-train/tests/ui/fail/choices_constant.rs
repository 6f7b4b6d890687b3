use cog_train::prelude::*;

const ADAM: &str = "adam";

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = [ADAM])]
    value: String,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
