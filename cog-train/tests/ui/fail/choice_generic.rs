use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer<const N: usize> {
    Adam,
}

fn main() {}
