use cog_train::prelude::*;

struct Finetune;

impl Finetune {
    #[cog_train::train]
    fn train(&mut self, steps: u32) -> Result<u32> {
        Ok(steps)
    }
}

fn main() {}
