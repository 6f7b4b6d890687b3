//! What saving costs a training: constant steps over 16M parameters with two moments each, with and without saves.
//!
//! `cargo bench --bench checkpoint`, with a folder as an argument where another disk is to be measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cog_train::anyhow::Result;
use cog_train::candle_core::{DType, Device, Tensor, Var};
use cog_train::engine::checkpoint::{Checkpoints, Keep, Snapshot};
use cog_train::serde_json::json;

/// Tensors of 512 x 512 numbers: 16.8 million parameters.
const TENSORS: usize = 64;
const WIDTH: usize = 512;
/// How long the computing of a step takes, about.
const STEP: Duration = Duration::from_millis(50);
/// The steps that are measured without a save.
const ALONE: usize = 40;
const SAVES: u64 = 5;

/// Named tensors that a step writes in place.
type Vars = BTreeMap<String, Var>;

fn vars(prefix: &str) -> Result<Vars> {
    let of = |at: usize| -> Result<(String, Var)> {
        let var = Var::randn(0_f32, 1.0, (WIDTH, WIDTH), &Device::Cpu)?;
        Ok((format!("{prefix}.{at:03}"), var))
    };
    (0..TENSORS).map(of).collect()
}

fn tensors(vars: &[&Vars]) -> BTreeMap<String, Tensor> {
    let each = vars.iter().flat_map(|vars| vars.iter());
    each.map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
}

/// The same work every time: products of two matrices.
fn step(input: &Tensor, products: usize) -> Result<Duration> {
    let begin = Instant::now();
    for _ in 0..products {
        input.matmul(input)?;
    }
    Ok(begin.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn measure(dir: &Path) -> Result<()> {
    let input = Tensor::zeros((WIDTH, WIDTH), DType::F32, &Device::Cpu)?;
    let warm = (0..5).map(|_| step(&input, 1)).collect::<Result<Vec<_>>>()?;
    let one = median(warm).as_secs_f64().max(1e-6);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive count"
    )]
    let products = (STEP.as_secs_f64() / one).ceil() as usize;

    let (weights, first, second) = (vars("weight")?, vars("first")?, vars("second")?);
    let alone = (0..ALONE).map(|_| step(&input, products)).collect::<Result<Vec<_>>>()?;

    let mut checkpoints = Checkpoints::open(dir, Keep { last: 2, best: true })?;
    let (mut stalls, mut during, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for save in 1..=SAVES {
        let files = BTreeMap::from([
            ("weights".to_owned(), tensors(&[&weights])),
            ("optimizer".to_owned(), tensors(&[&first, &second])),
        ]);
        let state = json!({"save": save});
        let begin = Instant::now();
        checkpoints.save(Snapshot { step: save, state, files, best: false })?;
        stalls.push(begin.elapsed());
        while checkpoints.writing() {
            during.push(step(&input, products)?);
        }
        checkpoints.finish()?;
        writes.push(begin.elapsed());
    }
    let newest = dir.join(format!("step-{SAVES:06}"));
    let mut bytes = 0;
    for entry in std::fs::read_dir(newest)? {
        bytes += entry?.metadata()?.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes for a reader")]
    let megabytes = bytes as f64 / 1e6;

    let longest = during.iter().max().copied().unwrap_or_default();
    let first_stall = stalls.remove(0);
    println!("{megabytes:.0} MB a checkpoint, {products} products a step, in {}", dir.display());
    println!("step without saving, median: {:.1} ms", ms(median(alone)));
    println!(
        "step while writing, median: {:.1} ms, of {}",
        ms(median(during.clone())),
        during.len()
    );
    println!("step while writing, longest: {:.1} ms", ms(longest));
    println!("stall of the first save: {:.1} ms", ms(first_stall));
    println!("stall of later saves, median: {:.1} ms", ms(median(stalls)));
    println!("written, digested, read back: {:.0} MB/s", megabytes / median(writes).as_secs_f64());
    Ok(())
}

fn main() -> Result<()> {
    // Cargo itself gives `--bench`.
    let folder = std::env::args_os().skip(1).find(|argument| argument != "--bench");
    let folder = folder.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = folder.join("checkpoint-bench");
    let result = measure(&dir);
    if dir.is_dir() {
        std::fs::remove_dir_all(&dir)?;
    }
    result
}
