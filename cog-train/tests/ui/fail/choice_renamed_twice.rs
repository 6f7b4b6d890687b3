use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    #[choice(rename = "a", rename = "b")]
    AdamW,
}

fn main() {}
