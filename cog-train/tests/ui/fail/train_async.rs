use cog_train::prelude::*;

#[cog_train::train]
async fn train(job: &mut Job) -> Result<Path> {
    Ok(job.dir().into())
}

cog_train::run!(train);
