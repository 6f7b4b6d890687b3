//! The program `cog-train`. Its trainers are the examples of the repository, whose files are modules here.

use std::process::ExitCode;

use cog_train::__private::{Allocator, tool};

#[path = "../../examples/classify/main.rs"]
mod classify;
#[path = "../../examples/preference_tuning/main.rs"]
mod dpo;
#[path = "../../examples/embed/main.rs"]
mod embed;
#[path = "../../examples/text_finetune/main.rs"]
mod sft;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    tool::main(&[
        ("sft", sft::app()),
        ("classify", classify::app()),
        ("embed", embed::app()),
        ("dpo", dpo::app()),
    ])
}
