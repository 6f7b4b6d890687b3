use cog_train::prelude::*;

#[cog_train::train]
fn train(#[input(default = 3)] job: &mut Job) -> String {
    job.id().to_owned()
}

cog_train::run!(train);
