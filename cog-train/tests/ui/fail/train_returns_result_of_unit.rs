use cog_train::prelude::*;

#[cog_train::train]
fn train(steps: u32) -> Result<()> {
    drop(steps);
    Ok(())
}

cog_train::run!(train);
