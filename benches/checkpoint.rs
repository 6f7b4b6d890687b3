//! Measures what checkpoints cost a training by `fit`: 16.8M parameters with two moments each, 201 MB a checkpoint.
//!
//! `cargo bench --bench checkpoint -- [FOLDER] [ROUNDS]`: the folder picks the disk. With `RAYON_NUM_THREADS=1` on two
//! cores, one is left to the writer.
//!
//! A round saves a few times without a training, which measures the processor time of a save; then it trains twice, in
//! alternating order: a run that saves every 40 steps and one that does not, timed over the same 240 steps. The shares of
//! the time are those of a run that saves every 160 steps: a save costs the same there, and what differs between two runs
//! by chance counts a quarter as much. The first save of a run, which allocates its buffer, lies before the timed steps. A
//! step lasts from one call of the loss to the next. The step that ends in a save holds its copy.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "far below 2^53")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cog_train::__private::compute;
use cog_train::anyhow::{Result, ensure};
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::{Checkpoints, Keep, Snapshot};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Every, Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::rng::Rng;
use cog_train::{Job, candle_core};
use rustix::time::{ClockId, clock_gettime};

/// As `run!` sets it, and its threads by `compute::prepare`.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

/// Matrices of 512 x 512 elements: 16.8 million parameters.
const MATRICES: u64 = 64;
const WIDTH: usize = 512;
const ROWS: usize = 256;
/// The steps from one save to the next: in the runs, and of the run that the target is about.
const SAVE_EVERY: usize = 40;
const TARGET_EVERY: usize = 160;
/// The timed steps: whole intervals with a save in the middle of each.
const FIRST_TIMED: usize = SAVE_EVERY * 3 / 2;
const SAVES: usize = 6;
const STEPS: usize = FIRST_TIMED + SAVE_EVERY * SAVES;
const KEEP: Keep = Keep { last: 2, best: false };

/// The targets.
const DURABLE_WITHIN: f64 = 2.0;
const SHARE_BELOW: f64 = 1.0;
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
            keep_checkpoints: KEEP,
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

/// The measurements of all rounds. Times are in milliseconds unless it is said.
#[derive(Default)]
struct Measured {
    /// Of single saves without a training: the copy, the processor time of all threads, and the time to durable.
    copies: Vec<f64>,
    processor: Vec<f64>,
    written: Vec<f64>,
    /// Of runs that save and that do not: the timed steps together.
    saving: Vec<f64>,
    not_saving: Vec<f64>,
    /// By round: the difference of the two for each save, in percent of the steps of the target's interval.
    shares: Vec<f64>,
    /// By save: by how much the steps beside it are longer than the median of the others, in the same percent.
    excesses: Vec<f64>,
    /// By save: seconds from the end of its step to the beginning of the first step that finds it settled.
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

/// Returns the processor time of all threads since the process began.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

impl Measured {
    /// Saves as many bytes as the training does, while nothing else computes.
    fn save_alone(&mut self, dir: &Path) -> Result<()> {
        let tensors = params()?.tensors();
        let files: BTreeMap<_, _> =
            ["first", "second", "weights"].map(|file| (file.to_owned(), tensors.clone())).into();
        let mut checkpoints = Checkpoints::open(dir, KEEP)?;
        for step in 1..=SAVES as u64 + 2 {
            let state = serde_json::Value::Null;
            let snapshot = Snapshot { step, state, files: files.clone(), best: false };
            let (begin, used) = (Instant::now(), processor_time());
            checkpoints.save(snapshot)?;
            let copied = begin.elapsed();
            checkpoints.finish()?;
            // The first allocates the buffer, and the third is the first that deletes another.
            if step > 2 {
                self.copies.push(ms(copied));
                self.processor.push(ms(processor_time().saturating_sub(used)));
                self.written.push(ms(begin.elapsed()));
            }
        }
        drop(checkpoints);
        Ok(std::fs::remove_dir_all(dir)?)
    }

    fn add(&mut self, saving: &[Begin], not_saving: &[Begin]) {
        let [with, without] =
            [saving, not_saving].map(|begun| ms(begun[STEPS].at - begun[FIRST_TIMED].at));
        self.saving.push(with);
        self.not_saving.push(without);
        self.shares.push((with / without - 1.0) * (SAVE_EVERY * 100) as f64 / TARGET_EVERY as f64);

        let steps: Vec<f64> = saving.windows(2).map(|pair| ms(pair[1].at - pair[0].at)).collect();
        let saves: Vec<usize> = (2..2 + SAVES).map(|number| number * SAVE_EVERY).collect();
        let settled = |save: usize| {
            // One that is not settled by then has missed its target.
            let end = save + SAVE_EVERY - 1;
            (save + 1..end).find(|&step| saving[step].is_settled).unwrap_or(end)
        };
        let is_beside = |step| saves.iter().any(|&save| (save - 1..settled(save)).contains(&step));
        let mut alone: Vec<f64> =
            (FIRST_TIMED..STEPS).filter(|&step| !is_beside(step)).map(|step| steps[step]).collect();
        let middle = median(&mut alone);
        for &save in &saves {
            let settled = settled(save);
            let excess: f64 = steps[save - 1..settled].iter().map(|step| step - middle).sum();
            self.excesses.push(excess / middle / TARGET_EVERY as f64 * 1e2);
            let end = saving[save - 1].at + Duration::from_secs_f64(middle / 1e3);
            self.durable.push(ms(saving[settled].at - end) / 1e3);
            self.with_copy.push(steps[save - 1] / middle);
            self.while_written.extend(steps[save..settled].iter().map(|step| step / middle));
        }
        self.alone.extend(alone.iter().map(|step| step / middle));
        self.first_copies.push(steps[SAVE_EVERY - 1] / middle);
    }

    fn print(mut self) {
        println!("a save without a training | median, ms | least | greatest");
        for (what, times) in [
            ("its copy", &mut self.copies),
            ("processor time of all threads", &mut self.processor),
            ("to durable", &mut self.written),
        ] {
            let median = median(times);
            let (least, greatest) = (times[0], times[times.len() - 1]);
            println!("{what} | {median:.1} | {least:.1} | {greatest:.1}");
        }
        println!();
        println!("{} steps of fit | median, s", SAVES * SAVE_EVERY);
        println!("without a save | {:.2}", median(&mut self.not_saving) / 1e3);
        println!("with {SAVES} | {:.2}", median(&mut self.saving) / 1e3);
        println!();
        println!(
            "steps, in parts of those without a save beside them | how many | median | longest"
        );
        for (what, times) in [
            ("without a save beside them", &mut self.alone),
            ("with the copy", &mut self.with_copy),
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
        print_target("from the step to durable, s", DURABLE_WITHIN, &mut self.durable);
        print_target("share of the time, %", SHARE_BELOW, &mut self.shares);
        print_target("the same by the steps beside a save, %", SHARE_BELOW, &mut self.excesses);
        print_target("a step next to a checkpoint", RATIO_BELOW, &mut [next]);
    }
}

fn print_target(what: &str, below: f64, values: &mut [f64]) {
    let middle = median(values);
    let verdict = if middle < below { "held" } else { "missed" };
    let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    println!("{what}, below {below} | {middle:.2}, {verdict} | {}", all.join(" "));
}

/// The median of values, which it sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
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
        for round in 0..rounds.max(1) {
            measured.save_alone(&dir.join("alone"))?;
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
