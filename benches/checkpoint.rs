//! What saving costs a training by `fit`: 16.8M parameters with two moments each, and no step that waits for the disk.
//!
//! `cargo bench --bench checkpoint`, with a folder as an argument where another disk is to be measured. With
//! `RAYON_NUM_THREADS=1` on two cores, one is left for the writing.
//!
//! A step is all that lies between the beginnings of two losses. A save is begun at the end of one; the update of the next
//! one is the copy that the checkpoint is written from. A step counts as one while a checkpoint was written when a staged
//! one was there at its beginning or its end. The first save stands apart: the memory for its copy is made before it, beside
//! steps that do not count.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "a bench says what it measured")]
#![expect(clippy::cast_precision_loss, reason = "far below 2^53")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cog_train::__private::compute;
use cog_train::anyhow::{Result, ensure};
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::{Checkpoints, Keep, Snapshot};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Every, Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::rng::Rng;
use cog_train::serde_json::json;
use cog_train::{Job, candle_core};

/// As `run!` sets it, and its threads by `compute::prepare`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Matrices of 512 x 512 numbers: 16.8 million parameters.
const MATRICES: u64 = 64;
const WIDTH: usize = 512;
const ROWS: usize = 256;
const STEPS: u64 = 800;
const SAVE_EVERY: u64 = 160;
/// Saves by themselves.
const SAVES: u64 = 5;

fn params() -> Result<Params> {
    let init = Rng::new(0, "init");
    let matrix =
        |at| init.at(at).normal_tensor((WIDTH, WIDTH), 0.0, 0.04, DType::F32, &Device::Cpu);
    let named = |at| Ok((format!("layer{at:02}.weight"), matrix(at)?));
    Ok(Params::new((0..MATRICES).map(named).collect::<Result<Vec<_>>>()?)?)
}

/// The beginning of a step: when, and whether a checkpoint is being written.
type Begin = (Instant, bool);

/// Trains with `fit`, and gives the beginnings of its steps.
fn train(dir: &Path) -> Result<Vec<Begin>> {
    let params = params()?;
    let tensors: Vec<Tensor> = params.tensors().into_values().collect();
    let begun = RefCell::new(Vec::new());
    let checkpoints = dir.join("checkpoints");
    let writing = || {
        let names = std::fs::read_dir(&checkpoints).into_iter().flatten().flatten();
        names.into_iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."))
    };
    let objective = |batch: &Tensor, _: &StepContext| {
        begun.borrow_mut().push((Instant::now(), writing()));
        let sum = |matrix: &Tensor| -> candle_core::Result<Tensor> {
            batch.matmul(matrix)?.sqr()?.sum_all()
        };
        let mut loss = sum(&tensors[0])?;
        for matrix in &tensors[1..] {
            loss = (loss + sum(matrix)?)?;
        }
        Ok(Loss::sum(loss, ROWS)?)
    };
    let row = |at| -> Result<Vec<f32>> {
        let row =
            Rng::new(0, "rows").at(at).normal_tensor(WIDTH, 0.0, 1.0, DType::F32, &Device::Cpu);
        Ok(row?.to_vec1()?)
    };
    let rows = Rows::new((0..64).map(row).collect::<Result<Vec<_>>>()?);
    let training = Training {
        config: TrainingConfig {
            epochs: STEPS,
            max_steps: Some(STEPS),
            learning_rate: 1e-5,
            save_every: Every::Steps(SAVE_EVERY),
            keep_checkpoints: Keep { last: 2, best: false },
            ..TrainingConfig::default()
        },
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train: Loader::new(rows, |rows: Vec<Vec<f32>>, batch| {
            Ok(Tensor::new(rows, batch.device())?)
        })
        .batch(Batching::Rows(ROWS)),
        eval: None,
    };
    let fitted = fit(training, &objective, &mut Job::for_test(dir))?;
    ensure!(fitted.steps == STEPS, "{} steps of {STEPS}", fitted.steps);
    Ok(begun.into_inner())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn tell(begun: &[Begin]) {
    let mut alone = Vec::new();
    let mut during = Vec::new();
    let mut saving = Vec::new();
    let mut first = Vec::new();
    for (step, pair) in (1..).zip(begun.windows(2)).skip_while(|(step, _)| *step < SAVE_EVERY) {
        let ms = (pair[1].0 - pair[0].0).as_secs_f64() * 1e3;
        if step <= SAVE_EVERY + 1 {
            first.push(ms);
        } else if step % SAVE_EVERY <= 1 {
            saving.push(ms);
        } else if pair[0].1 || pair[1].1 {
            during.push(ms);
        } else {
            alone.push(ms);
        }
    }
    let middle = median(&mut alone);
    let goal = 1.1;
    println!(
        "steps of fit                       | how many | median, ms | longest | over {goal} of the median of those without"
    );
    let mut most = 0.0_f64;
    for (what, times) in [
        ("without a checkpoint on its way    ", &mut alone),
        ("that begin a save, or are its copy ", &mut saving),
        ("while one is written               ", &mut during),
        ("that begin the first save, or copy ", &mut first),
    ] {
        let (ratio, over) = (median(times) / middle, |time: &&f64| **time > goal * middle);
        let share = 100 * times.iter().filter(over).count() / times.len().max(1);
        let longest = times.last().copied().unwrap_or(f64::NAN) / middle;
        println!(
            "{what} | {} | {:.1} ({ratio:.2}) | {longest:.2} | {share} %",
            times.len(),
            ratio * middle,
        );
        most = most.max(ratio);
    }
    let verdict = if most <= goal { "held" } else { "missed" };
    println!(
        "goal: {goal} of the median; the median of each kind, for single steps are as long as the machine has them: {most:.2}, {verdict}"
    );
}

/// Saves by themselves: the copy, and the whole to the disk and back.
fn saves(dir: &Path) -> Result<()> {
    let weights = params()?.masters();
    let moments = || {
        let of = |(name, tensor): (&String, &Tensor)| {
            [format!("{name}.exp_avg"), format!("{name}.exp_avg_sq")].map(|it| (it, tensor.clone()))
        };
        weights.iter().flat_map(of).collect::<BTreeMap<_, _>>()
    };
    let mut checkpoints = Checkpoints::open(dir, Keep { last: 2, best: false })?;
    let (mut copies, mut wholes) = (Vec::new(), Vec::new());
    for step in 1..=SAVES {
        let files = BTreeMap::from([
            ("weights".to_owned(), weights.clone()),
            ("optimizer".to_owned(), moments()),
        ]);
        let begin = Instant::now();
        checkpoints.save(Snapshot { step, state: json!({}), files, best: false })?;
        copies.push(begin.elapsed().as_secs_f64() * 1e3);
        checkpoints.finish()?;
        wholes.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir.join(format!("step-{SAVES:06}")))? {
        bytes += entry?.metadata()?.len();
    }
    let megabytes = bytes as f64 / 1e6;
    let (first, later) = (copies[0], median(&mut copies[1..]));
    let whole = median(&mut wholes);
    println!("a checkpoint of {megabytes:.0} MB by itself | ms");
    println!("the copy, the first time | {first:.1}");
    println!("the copy, later: memory is there | {later:.1}");
    println!(
        "copied, written, digested, read back | {whole:.0}, so {:.0} MB/s",
        megabytes / whole * 1e3
    );
    Ok(())
}

fn main() -> Result<()> {
    // SAFETY: (1) no thread has been started.
    unsafe { compute::prepare() };
    // Cargo itself gives `--bench`.
    let folder = std::env::args_os().skip(1).find(|argument| argument != "--bench");
    let folder = folder.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = folder.join("checkpoint-bench");
    let all = || -> Result<()> {
        println!("{} threads compute, in {}", rayon::current_num_threads(), dir.display());
        tell(&train(&dir.join("run"))?);
        saves(&dir.join("alone"))
    };
    let result = all();
    if dir.is_dir() {
        std::fs::remove_dir_all(&dir)?;
    }
    result
}
