#[cog_train::train]
struct Finetune;

fn main() {}
