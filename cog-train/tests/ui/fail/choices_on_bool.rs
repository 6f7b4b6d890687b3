use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = [true])]
    value: bool,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
