use cog_train::prelude::*;

#[derive(Choice)]
enum Optimizer {
    AdamW,
    #[choice(rename = "adam_w")]
    Adam,
}

fn main() {}
