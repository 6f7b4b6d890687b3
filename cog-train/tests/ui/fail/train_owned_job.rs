use cog_train::prelude::*;

#[cog_train::train]
fn train(job: Job) -> String {
    job.id().to_owned()
}

cog_train::run!(train);
