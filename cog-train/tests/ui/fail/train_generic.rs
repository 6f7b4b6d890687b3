use cog_train::prelude::*;

#[cog_train::train]
fn train<T>() -> Result<Path> {
    Ok("a".into())
}

cog_train::run!(train);
