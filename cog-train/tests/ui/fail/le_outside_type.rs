use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(le = 128)]
    value: Option<i8>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
