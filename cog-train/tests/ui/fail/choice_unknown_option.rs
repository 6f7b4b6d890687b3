use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    #[choice(name = "adamw")]
    AdamW,
}

fn main() {}
