use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(ge = , le = 2)]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
