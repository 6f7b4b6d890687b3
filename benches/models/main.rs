//! The Rust side of the pretrained models' jobs: `run.py` trains them here and in PyTorch, in turn.
//!
//! ```text
//! finetune_peer JOB STEPS --data DIR [--checkpoint-layers] [--base f32|bf16|nf4|q8_0]
//! ```
//!
//! It prints one line of JSON; `finetune.py` says what is in it.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "it prints its record")]
#![expect(unreachable_pub, reason = "the modules of a program")]

mod data;
mod models;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/training.rs"]
mod training;

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};
use cog_train::__private::compute;
use cog_train::anyhow::Result;
use cog_train::serde_json::json;

use crate::models::{Base, Job};
use crate::training::{Settings, train};

/// As `run!` sets it.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

fn main() -> Result<()> {
    // SAFETY: (1) no thread has been started.
    unsafe { compute::prepare() };
    let matches = Command::new("finetune_peer")
        .arg(Arg::new("job").required(true).value_parser(Job::ALL.map(Job::name)))
        .arg(Arg::new("steps").required(true).value_parser(value_parser!(u64).range(4..)))
        .arg(Arg::new("data").long("data").required(true).value_parser(value_parser!(PathBuf)))
        .arg(Arg::new("checkpoint").long("checkpoint-layers").action(ArgAction::SetTrue))
        .arg(
            Arg::new("base")
                .long("base")
                .default_value("f32")
                .value_parser(Base::ALL.map(Base::name)),
        )
        .get_matches();
    let name = matches.get_one::<String>("job").expect("clap asks for it");
    let steps = *matches.get_one("steps").expect("clap asks for it");
    let folder = matches.get_one::<PathBuf>("data").expect("clap asks for it");
    let job = Job::named(name).expect("clap knows the jobs");
    let batches = data::read(job, folder)?;
    let base = matches.get_one::<String>("base").expect("it has a default");
    let base = Base::named(base).expect("clap knows the bases");
    let (params, model) = job.load(folder, base, matches.get_flag("checkpoint"))?;
    let settings = Settings { steps, learning_rate: job.learning_rate() };
    let trained = train(&params, batches, &*model, settings)?;
    let mut record = trained.record();
    record.insert("impl".to_owned(), json!("ours"));
    record.insert("job".to_owned(), json!(name));
    record.insert("losses".to_owned(), json!(trained.losses));
    println!("{}", json!(record));
    Ok(())
}
