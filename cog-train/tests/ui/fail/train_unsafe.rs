use cog_train::prelude::*;

#[cog_train::train]
unsafe fn train() -> Result<Path> {
    Ok("a".into())
}

cog_train::run!(train);
