//! Measures what checkpoints cost a training by `fit`: 16.8M parameters with two moments each, 201 MB a checkpoint.
//!
//! `cargo bench --bench checkpoint -- [FOLDER] [ROUNDS]`: the folder picks the disk. With `RAYON_NUM_THREADS=1` on two
//! cores, one is left to the writer.
//!
//! A round is a run that saves every 160 steps and one that does not, in alternating order. Both are timed over the same
//! 160 steps, which hold one save; the first save of a run, which may allocate its buffer, lies before them. A step
//! lasts from one call of the loss to the next. The step that ends in a save holds its copy.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "far below 2^53")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cog_train::__private::compute;
use cog_train::anyhow::{Result, ensure};
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::Keep;
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Every, Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::rng::Rng;
use cog_train::{Job, candle_core};

/// As `run!` sets it, and its threads by `compute::prepare`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Matrices of 512 x 512 elements: 16.8 million parameters.
const MATRICES: u64 = 64;
const WIDTH: usize = 512;
const ROWS: usize = 256;
const SAVE_EVERY: usize = 160;
/// The timed steps: as many as lie between two saves, with the second save in their middle.
const FIRST_TIMED: usize = SAVE_EVERY * 3 / 2;
const STEPS: usize = FIRST_TIMED + SAVE_EVERY;

/// The targets.
const DURABLE_WITHIN: f64 = 2.0;
const SHARE_BELOW: f64 = 0.01;
const RATIO_BELOW: f64 = 1.3;

/// The beginning of a step.
#[derive(Clone, Copy)]
struct Begin {
    at: Instant,
    /// Whether the newest checkpoint is that of the newest save, and none is being written or deleted.
    is_settled: bool,
}

fn params() -> Result<Params> {
    let init = Rng::new(0, "init");
    let matrix =
        |at| init.at(at).normal_tensor((WIDTH, WIDTH), 0.0, 0.04, DType::F32, &Device::Cpu);
    let named = |at| Ok((format!("layer{at:02}.weight"), matrix(at)?));
    Ok(Params::new((0..MATRICES).map(named).collect::<Result<Vec<_>>>()?)?)
}

/// Whether the last save before this many steps is there, and nothing else is on its way.
fn is_settled(checkpoints: &Path, steps: usize) -> bool {
    let names = std::fs::read_dir(checkpoints).into_iter().flatten().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    let newest = format!("step-{:06}", steps / SAVE_EVERY * SAVE_EVERY);
    names.iter().any(|name| *name == *newest)
        && !names.iter().any(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Trains with `fit` and returns the beginnings of its steps.
fn train(dir: &Path, save_every: Every) -> Result<Vec<Begin>> {
    let params = params()?;
    let tensors: Vec<Tensor> = params.tensors().into_values().collect();
    let begun = RefCell::new(Vec::new());
    let checkpoints = dir.join("checkpoints");
    let objective = |batch: &Tensor, _: &StepContext| {
        let mut begun = begun.borrow_mut();
        let is_settled = is_settled(&checkpoints, begun.len());
        begun.push(Begin { at: Instant::now(), is_settled });
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
    let steps = STEPS as u64 + 1;
    let training = Training {
        config: TrainingConfig {
            epochs: steps,
            max_steps: Some(steps),
            learning_rate: 1e-5,
            save_every,
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
    ensure!(fitted.steps == steps, "{} steps of {steps}", fitted.steps);
    std::fs::remove_dir_all(dir)?;
    Ok(begun.into_inner())
}

/// The measurements of all rounds. Times are in milliseconds.
#[derive(Default)]
struct Measured {
    /// Of runs that save and that do not: the timed steps together.
    saving: Vec<f64>,
    not_saving: Vec<f64>,
    /// By round: the difference of the two, in parts of the second.
    shares: Vec<f64>,
    /// By save: by how much the steps beside it are longer than the median of the others, in parts of 160 such steps.
    excesses: Vec<f64>,
    /// By save: from the end of its step to the beginning of the first step that finds it settled.
    durable: Vec<f64>,
    /// Single steps in parts of the median of those in the same run that no save is beside.
    with_copy: Vec<f64>,
    while_written: Vec<f64>,
    alone: Vec<f64>,
    first_copies: Vec<f64>,
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn timed(begun: &[Begin]) -> f64 {
    ms(begun[STEPS].at - begun[FIRST_TIMED].at)
}

impl Measured {
    fn add(&mut self, saving: &[Begin], not_saving: &[Begin]) {
        let (with, without) = (timed(saving), timed(not_saving));
        self.saving.push(with);
        self.not_saving.push(without);
        self.shares.push(with / without - 1.0);

        let steps: Vec<f64> = saving.windows(2).map(|pair| ms(pair[1].at - pair[0].at)).collect();
        let save = 2 * SAVE_EVERY;
        // One that is not settled by then has missed its target.
        let settled = (save..STEPS).find(|&step| saving[step].is_settled).unwrap_or(STEPS);
        // The copy is in the last step before the save or, where an update makes it, in the one after.
        let with_copy = save - 1..=save;
        let mut alone: Vec<f64> =
            [&steps[FIRST_TIMED..save - 1], &steps[settled.max(save + 1)..STEPS]].concat();
        let middle = median(&mut alone);
        let beside = &steps[save - 1..settled.max(save + 1)];
        let excess: f64 = beside.iter().map(|step| step - middle).sum();
        self.excesses.push(excess / middle / SAVE_EVERY as f64);
        let end = saving[save - 1].at + Duration::from_secs_f64(middle / 1e3);
        self.durable.push(ms(saving[settled].at - end));
        self.with_copy.extend(steps[with_copy].iter().map(|step| step / middle));
        let after = (save + 1).min(settled)..settled;
        self.while_written.extend(steps[after].iter().map(|step| step / middle));
        self.alone.extend(alone.iter().map(|step| step / middle));
        self.first_copies.push(steps[SAVE_EVERY - 1].max(steps[SAVE_EVERY]) / middle);
    }

    fn print(mut self) {
        let of_saving = median(&mut self.saving);
        let of_not_saving = median(&mut self.not_saving);
        println!("{SAVE_EVERY} steps of fit | median, s");
        println!("without a save | {:.2}", of_not_saving / 1e3);
        println!("with one | {:.2}", of_saving / 1e3);
        println!();
        println!(
            "steps, in parts of those without a save beside them | how many | median | longest"
        );
        for (what, times) in [
            ("without a save beside them", &mut self.alone),
            ("before and after the copy", &mut self.with_copy),
            ("while a checkpoint is written", &mut self.while_written),
            ("with the first copy of a run", &mut self.first_copies),
        ] {
            let median = median(times);
            let longest = times.last().copied().unwrap_or(f64::NAN);
            println!("{what} | {} | {median:.2} | {longest:.2}", times.len());
        }
        println!();
        println!("target | median | of each save or round");
        let next = median(&mut self.with_copy).max(median(&mut self.while_written));
        let durable = median(&mut self.durable) / 1e3;
        let share = median(&mut self.shares);
        let excess = median(&mut self.excesses);
        let list = |values: &[f64], factor: f64| {
            let texts: Vec<String> =
                values.iter().map(|value| format!("{:.2}", value * factor)).collect();
            texts.join(" ")
        };
        println!(
            "from the step to durable, below {DURABLE_WITHIN} s | {durable:.2}, {} | {}",
            verdict(durable < DURABLE_WITHIN),
            list(&self.durable, 1e-3),
        );
        println!(
            "share of the time, below {:.0} % | {:.2} %, {} | {}",
            SHARE_BELOW * 1e2,
            share * 1e2,
            verdict(share < SHARE_BELOW),
            list(&self.shares, 1e2),
        );
        println!(
            "the same by the steps beside a save | {:.2} %, {} | {}",
            excess * 1e2,
            verdict(excess < SHARE_BELOW),
            list(&self.excesses, 1e2),
        );
        println!(
            "a step next to a checkpoint, below {RATIO_BELOW} | {next:.2}, {} |",
            verdict(next < RATIO_BELOW),
        );
    }
}

/// The median of values, which it sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn verdict(held: bool) -> &'static str {
    if held { "held" } else { "missed" }
}

fn main() -> Result<()> {
    // SAFETY: the process has one thread.
    unsafe { compute::prepare() };
    // Cargo itself passes `--bench`.
    let mut arguments = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    let folder = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let rounds: usize =
        arguments.next().map_or(Ok(5), |rounds| rounds.to_string_lossy().parse())?;
    let dir = folder.join("checkpoint-bench");
    let all = || -> Result<()> {
        println!("{} threads compute, in {}", rayon::current_num_threads(), dir.display());
        let saves = || train(&dir.join("saving"), Every::Steps(SAVE_EVERY as u64));
        let none = || train(&dir.join("not-saving"), Every::End);
        let mut measured = Measured::default();
        for round in 0..rounds {
            if round % 2 == 0 {
                let saving = saves()?;
                measured.add(&saving, &none()?);
            } else {
                let not_saving = none()?;
                measured.add(&saves()?, &not_saving);
            }
        }
        measured.print();
        Ok(())
    };
    let result = all();
    if dir.is_dir() {
        std::fs::remove_dir_all(&dir)?;
    }
    result
}
