use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(deprecated = "use steps")]
    value: u8,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
