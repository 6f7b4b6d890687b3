use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = [1, 300], le = 100)]
    value: Vec<u16>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
