use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {}

fn main() {}
