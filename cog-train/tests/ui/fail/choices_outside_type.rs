use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = [128, 256])]
    value: u8,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
