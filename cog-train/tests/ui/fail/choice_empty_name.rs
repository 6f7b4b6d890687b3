use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    #[choice(rename = "")]
    Adam,
}

fn main() {}
