#[cog_train::train]
fn train(log: &mut String) -> u32 {
    log.len() as u32
}

cog_train::run!(train);
