use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1)]
    value: cog_train::serde_json::Map<String, cog_train::serde_json::Value>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
