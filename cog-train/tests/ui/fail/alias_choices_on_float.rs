use cog_train::prelude::*;

type Value = f32;

#[derive(TrainInputs)]
struct Inputs {
    #[input(choices = [1, 2])]
    value: Vec<Value>,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
