//! The Rust side of the peers: the jobs of `models.py` on this crate's blocks, trained by `fit`.
//!
//! ```text
//! peer JOB STEPS [--data DIR] [--device cpu|cuda] [--precision f32|bf16]
//! peer peak
//! peer gpt --layers L --width D --heads H --length T --batch B --vocab V --steps N
//! ```
//!
//! Each prints one line of JSON; `process.py` says what is in it. A step's time is that from the beginning of a loss to
//! the beginning of the next, so that all that `fit` does is in it: batches, reports, the looks at gradients.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "it prints its record")]
#![expect(unreachable_pub, reason = "the modules of a program")]

mod data;
mod models;
mod process;
mod training;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Arg, ArgMatches, Command, value_parser};
use cog_train::__private::compute;
use cog_train::anyhow::Result;
use cog_train::candle_core::{DType, Device};
use cog_train::engine::Precision;
use cog_train::rng::Rng;
use cog_train::serde_json::json;

use crate::data::Batches;
use crate::models::Job;
use crate::models::gpt::{Gpt, Shape};
use crate::training::{Settings, train};

/// As `run!` sets it.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

/// The learning rate of J1, for its model in other sizes.
const RATE: f64 = 3e-4;
/// Batches of those: enough that the embedding's rows are not the same in each step.
const BATCHES: usize = 8;

fn main() -> Result<()> {
    // SAFETY: (1) no thread has been started.
    unsafe { compute::prepare() };
    let matches = arguments().get_matches();
    match matches.subcommand() {
        Some(("peak", _)) => peak(),
        Some(("gpt", options)) => gpt(options),
        Some((job, options)) => job_of_files(job, options),
        None => Ok(()),
    }
}

fn arguments() -> Command {
    let number = |name| Arg::new(name).value_parser(value_parser!(usize)).required(true);
    let steps = || number("steps").value_parser(value_parser!(u64).range(4..));
    let one_of = |name, values: [&'static str; 2]| {
        Arg::new(name).long(name).value_parser(values).default_value(values[0])
    };
    let data = || Arg::new("data").long("data").value_parser(value_parser!(PathBuf));
    let job = |job: Job| {
        Command::new(job.name())
            .arg(steps())
            .arg(data().default_value("target/peers"))
            .arg(one_of("device", ["cpu", "cuda"]))
            .arg(one_of("precision", ["f32", "bf16"]))
    };
    let sizes = ["layers", "width", "heads", "length", "batch", "vocab"];
    let gpt = sizes
        .into_iter()
        .fold(Command::new("gpt"), |gpt, name| gpt.arg(number(name).long(name).value_name("N")));
    Command::new("peer")
        .subcommand_required(true)
        .subcommands(Job::ALL.map(job))
        .subcommand(gpt.arg(steps().long("steps").value_name("N")))
        .subcommand(Command::new("peak"))
}

/// One of the jobs, on the weights and the batches that both sides read.
fn job_of_files(name: &str, options: &ArgMatches) -> Result<()> {
    let steps = *options.get_one::<u64>("steps").expect("clap asks for it");
    let folder = options.get_one::<PathBuf>("data").expect("it has a default");
    let job = Job::named(name).expect("clap knows the jobs");
    let chosen = |name| options.get_one::<String>(name).map(String::as_str);
    let device = if chosen("device") == Some("cuda") { Device::new_cuda(0)? } else { Device::Cpu };
    let precision =
        if chosen("precision") == Some("bf16") { Precision::Bf16 } else { Precision::F32 };
    let params = data::params(&folder.join(format!("{name}.safetensors")), &device)?;
    let params = job.freeze(params)?.precision(precision)?;
    let batches = Batches::read(&folder.join(format!("{name}_data.safetensors")), &device)?;
    let model = job.model(&params.tensors())?;
    let settings = Settings { steps, learning_rate: job.learning_rate() };
    let trained = train(&params, batches, &*model, settings)?;
    let mut record = trained.record();
    record.insert("impl".to_owned(), json!("ours"));
    record.insert("job".to_owned(), json!(name));
    record.insert("losses".to_owned(), json!(trained.losses));
    println!("{}", json!(record));
    Ok(())
}

/// J1's model in another size, on random numbers.
fn gpt(options: &ArgMatches) -> Result<()> {
    let size = |name| *options.get_one::<usize>(name).expect("clap asks for it");
    let steps = *options.get_one::<u64>("steps").expect("clap asks for it");
    let shape = Shape { layers: size("layers"), width: size("width"), heads: size("heads") };
    let (length, vocab) = (size("length"), size("vocab"));
    let params = shape.random(vocab, length)?;
    let batches = Batches::random(BATCHES, size("batch"), length, vocab)?;
    let model = Gpt::new(shape, &params.tensors())?;
    let trained = train(&params, batches, &model, Settings { steps, learning_rate: RATE })?;
    println!("{}", json!(trained.record()));
    Ok(())
}

/// The best rate of products of two 2048 x 2048 matrices in some 2 s.
fn peak() -> Result<()> {
    const SIZE: usize = 2048;
    let matrix = |at| {
        Rng::new(0, "peak").at(at).normal_tensor((SIZE, SIZE), 0.0, 1.0, DType::F32, &Device::Cpu)
    };
    let (a, b) = (matrix(0)?, matrix(1)?);
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < 2.0 {
        let start = Instant::now();
        a.matmul(&b)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let operations = 2.0 * 2048_f64.powi(3);
    println!("{}", json!({ "gflops": (operations / best / 1e8).round() / 10.0 }));
    Ok(())
}
