use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = ["a", "b"])]
    value: Path,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
