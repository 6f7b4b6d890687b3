use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = "a")]
    value: Option<Vec<String>>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
