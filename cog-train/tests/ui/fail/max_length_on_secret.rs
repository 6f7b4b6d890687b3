use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(max_length = 64)]
    value: Option<Secret>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
