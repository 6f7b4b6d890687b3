use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(ge(1))]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
