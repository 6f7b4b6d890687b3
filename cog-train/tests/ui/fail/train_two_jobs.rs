use cog_train::prelude::*;

#[cog_train::train]
fn train(job: &mut Job, other: &mut Job) -> String {
    format!("{}{}", job.id(), other.id())
}

cog_train::run!(train);
