use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 3u32)]
    value: u32,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
