#[cog_train::train]
extern "C" fn train() -> bool {
    true
}

cog_train::run!(train);
