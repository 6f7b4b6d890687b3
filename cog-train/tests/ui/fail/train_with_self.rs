use cog_train::prelude::*;

#[cog_train::train]
fn train(&mut self, steps: u32) -> Result<u32> {
    Ok(steps + self.extra)
}

fn main() {}
