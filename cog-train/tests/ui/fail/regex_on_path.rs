use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(regex = "jsonl$")]
    value: Path,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
