use cog_train::prelude::*;

#[derive(Choice)]
#[choice(rename = "a")]
enum Optimizer {
    Adam,
}

fn main() {}
