use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: std::collections::HashMap<String, String>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
