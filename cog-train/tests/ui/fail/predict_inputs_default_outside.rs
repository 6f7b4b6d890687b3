use cog_train::prelude::*;

#[derive(PredictInputs)]
struct Prompt {
    #[input(default = 0.0, ge = 0.1)]
    temperature: f64,
}

fn main() {}
