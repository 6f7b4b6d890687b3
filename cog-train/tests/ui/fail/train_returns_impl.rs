use cog_train::prelude::*;

#[cog_train::train]
fn train() -> impl TrainOutput {
    3
}

cog_train::run!(train);
