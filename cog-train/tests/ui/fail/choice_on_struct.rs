use cog_train::prelude::*;

#[derive(Choice)]
struct Optimizer {
    adam: bool,
}

fn main() {}
