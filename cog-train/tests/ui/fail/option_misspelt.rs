use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(defualt = 3)]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
