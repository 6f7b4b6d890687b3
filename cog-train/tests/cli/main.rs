//! The command line of a trainer's binary, seen from outside.

mod cogs;
mod commands;
mod each;
mod finetune;
mod full;
mod inputs;
#[cfg(target_os = "linux")]
mod memory;
mod outputs;
mod pattern;
mod plan;
mod planned;
mod predict;
mod results;
mod resume;
mod sandbox;
mod signals;
mod soak;
mod stop;
mod temporary;
mod terminal;
mod training;
mod transcript;
mod transcripts;

use sandbox::Sandbox;

const CANARY: &str = "canary-7f3a9c";

fn probe() -> Sandbox {
    Sandbox::new("probe")
}
