//! The overhead of a step of `fit`, and the memory of a long training.
//!
//! Three loops train the same network on the same batches, block by block in turn, so that a busy machine is busy for all:
//!
//! - bare candle: forward, backward, the loss read, candle's own AdamW, and nothing else;
//! - by hand: what `fit` computes, by this crate's parts and without `fit`: forward, backward, the loss read, the norm of
//!   the gradients, the fused AdamW;
//! - `fit`, which also receives batches from its thread, decides whether to evaluate, save or stop, and writes a line of
//!   `metrics.jsonl` and an event for `TensorBoard`.
//!
//! Overhead is `fit` less the loop by hand. Against bare candle stands what a user's loop would take.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::cast_precision_loss, reason = "far below 2^53")]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use cog_train::__private::compute;
use cog_train::candle_core::{DType, Device, Tensor, Var};
use cog_train::candle_nn::optim::{AdamW as CandleAdamW, Optimizer as _, ParamsAdamW};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Gradients, Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{AdamW, Clip, Optimizer, norm};
use cog_train::rng::Rng;
use cog_train::{Job, anyhow, candle_core};

/// As `run!` sets it, and its threads by `compute::prepare`.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

/// Blocks of each kind.
const ROUNDS: usize = 15;
/// Steps at the beginning of a block that do not count: caches, and the look at each gradient.
const WARM: usize = 20;
const RATE: f64 = 1e-4;
const LIMIT: Clip = Clip::Norm(1.0);
/// The steps of the long training, and how often its memory is read.
const LONG: u32 = 5_000;
const READ_EVERY: u64 = 50;

/// Layers of `width` by `width`, on batches of `rows`.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    layers: u64,
    width: usize,
    rows: usize,
    /// Steps in a block.
    steps: u32,
}

const TINY: Shape = Shape { name: "tiny", layers: 2, width: 32, rows: 8, steps: 1000 };
const SMALL: Shape = Shape { name: "10 ms", layers: 2, width: 512, rows: 96, steps: 70 };

type Batch = Tensor;

fn main() -> anyhow::Result<()> {
    // SAFETY: (1) no thread has been started.
    unsafe { compute::prepare() };
    println!("medians of {ROUNDS} blocks of each kind, {} threads", rayon::current_num_threads());
    for shape in [TINY, SMALL] {
        overhead(shape)?;
    }
    memory()
}

/// Prints what a step takes by hand and in `fit`.
fn overhead(shape: Shape) -> anyhow::Result<()> {
    let batches = batches(shape)?;
    let (mut in_candle, mut by_hand) = (Vec::new(), Vec::new());
    let (mut in_fit, mut more) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bare = median(bare(shape, &batches)?);
        let hand = median(hand(shape, &batches)?);
        let fitted = median(fitted(shape, &batches)?);
        // The first round touches the pages and the threads.
        if round > 0 {
            in_candle.push(bare);
            by_hand.push(hand);
            in_fit.push(fitted);
            more.push(fitted - hand);
        }
    }
    let ratios = |over: &[f64], under: &[f64], unit: f64| -> Vec<f64> {
        over.iter().zip(under).map(|(over, under)| unit * over / under).collect()
    };
    let mut shares = ratios(&more, &by_hand, 100.0);
    let mut against_candle = ratios(&in_fit, &in_candle, 1.0);
    let numbers = shape.layers * (shape.width * (shape.width + 1)) as u64;
    println!(
        "{}: {numbers} parameters, batches of {}, blocks of {} steps",
        shape.name, shape.rows, shape.steps
    );
    print_row("bare candle", &mut in_candle, "us");
    print_row("by hand", &mut by_hand, "us");
    print_row("fit", &mut in_fit, "us");
    print_row("overhead", &mut more, "us (goal: under 50)");
    print_row("overhead", &mut shares, "% (goal: under 1 at 10 ms)");
    print_row("fit / candle", &mut against_candle, "times");
    Ok(())
}

fn batches(shape: Shape) -> anyhow::Result<Arc<Vec<Batch>>> {
    let rng = Rng::new(0, "batch");
    let batch = |at| {
        rng.at(at).normal_tensor((shape.rows, shape.width), 0.0, 1.0, DType::F32, &Device::Cpu)
    };
    Ok(Arc::new((0..16).map(batch).collect::<Result<_, _>>()?))
}

fn params(shape: Shape) -> anyhow::Result<Params> {
    let rng = Rng::new(0, "init");
    let (width, mut tensors) = (shape.width, Vec::new());
    for layer in 0..shape.layers {
        let deviation = (width as f64).sqrt().recip();
        let weight = rng.at(layer).normal_tensor(
            (width, width),
            0.0,
            deviation,
            DType::F32,
            &Device::Cpu,
        )?;
        tensors.push((format!("layer{layer}.weight"), weight));
        tensors
            .push((format!("layer{layer}.bias"), Tensor::zeros(width, DType::F32, &Device::Cpu)?));
    }
    Ok(Params::new(tensors)?)
}

/// The squares of what a network makes of a batch: any loss will do.
struct Network(Vec<(Tensor, Tensor)>);

impl Network {
    fn new(shape: Shape, params: &Params) -> Self {
        let tensors = params.tensors();
        let of = |layer, what| tensors[&format!("layer{layer}.{what}")].clone();
        Self((0..shape.layers).map(|layer| (of(layer, "weight"), of(layer, "bias"))).collect())
    }

    fn loss(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        let mut x = batch.clone();
        for (weight, bias) in &self.0 {
            x = x.matmul(weight)?.broadcast_add(bias)?.relu()?;
        }
        (x - batch)?.sqr()?.sum_all()
    }
}

/// The microseconds of each step of a loop of candle's alone.
fn bare(shape: Shape, batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let mut variables = Vec::new();
    let mut layers = Vec::new();
    let first = params(shape)?.masters();
    for layer in 0..shape.layers {
        let mut variable = |what| -> candle_core::Result<Tensor> {
            let variable = Var::from_tensor(&first[&format!("layer{layer}.{what}")])?;
            variables.push(variable.clone());
            Ok(variable.as_tensor().clone())
        };
        layers.push((variable("weight")?, variable("bias")?));
    }
    let network = Network(layers);
    let mut optimizer =
        CandleAdamW::new(variables, ParamsAdamW { lr: RATE, ..ParamsAdamW::default() })?;
    let mut begun = Vec::new();
    let mut losses = 0.0;
    for (_, batch) in (0..shape.steps).zip(batches.iter().cycle()) {
        begun.push(Instant::now());
        let loss = (network.loss(batch)? / batch.dim(0)? as f64)?;
        optimizer.step(&loss.backward()?)?;
        losses += f64::from(loss.to_scalar::<f32>()?);
    }
    anyhow::ensure!(losses.is_finite(), "the losses add up to {losses}");
    Ok(between(&begun))
}

/// The microseconds of each step of a loop by hand.
fn hand(shape: Shape, batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let params = params(shape)?;
    let network = Network::new(shape, &params);
    let mut optimizer = Optimizer::new(AdamW::default());
    optimizer.prepare(&params)?;
    let mut begun = Vec::new();
    let mut losses = 0.0;
    for (step, batch) in (1..=u64::from(shape.steps)).zip(batches.iter().cycle()) {
        begun.push(Instant::now());
        let loss = network.loss(batch)?;
        let gradients = Gradients::take(&params, &mut loss.backward()?)?;
        losses += f64::from(loss.to_scalar::<f32>()?);
        let divisor = batch.dim(0)? as f64;
        let factor = LIMIT.factor(norm(&gradients)? / divisor) / divisor;
        optimizer.step(&params, &gradients, step, RATE, factor)?;
    }
    anyhow::ensure!(losses.is_finite(), "the losses add up to {losses}");
    Ok(between(&begun))
}

/// The microseconds of each step of `fit`, from the beginning of one loss to that of the next.
fn fitted(shape: Shape, batches: &Arc<Vec<Batch>>) -> anyhow::Result<Vec<f64>> {
    let begun = RefCell::new(Vec::new());
    train(shape, batches, shape.steps, |_| begun.borrow_mut().push(Instant::now()))?;
    Ok(between(&begun.into_inner()))
}

/// Trains with `fit`; `each` is called at the beginning of every step.
fn train(
    shape: Shape,
    batches: &Arc<Vec<Batch>>,
    steps: u32,
    each: impl Fn(u64),
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut job = Job::for_test(dir.path());
    let params = params(shape)?;
    let network = Network::new(shape, &params);
    let batches = batches.clone();
    let rows = Rows::new((0..steps).collect::<Vec<_>>());
    let train =
        Loader::new(rows, move |rows, _| Ok(batches[rows[0] as usize % batches.len()].clone()));
    let training = Training {
        config: TrainingConfig { learning_rate: RATE, clip: LIMIT, ..TrainingConfig::default() },
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train: train.batch(Batching::Rows(1)).shuffle(false),
        eval: None,
    };
    let objective = |batch: &Batch, context: &StepContext| {
        each(context.step());
        Ok(Loss::sum(network.loss(batch)?, batch.dim(0)?)?)
    };
    let fitted = fit(training, &objective, &mut job)?;
    anyhow::ensure!(fitted.steps == u64::from(steps), "{} steps of {steps}", fitted.steps);
    Ok(())
}

/// Prints what the process holds early and late in a long training.
fn memory() -> anyhow::Result<()> {
    let held = RefCell::new(Vec::new());
    let read = |step: u64| {
        if step > 0 && step.is_multiple_of(READ_EVERY) {
            held.borrow_mut().push((step as f64, resident()));
        }
    };
    train(TINY, &batches(TINY)?, LONG + 1, read)?;
    let held = held.into_inner();
    let count = held.len() as f64;
    let (steps, bytes) = (held.iter().map(|(step, _)| step), held.iter().map(|(_, bytes)| bytes));
    let (mean_step, mean_bytes) = (steps.sum::<f64>() / count, bytes.sum::<f64>() / count);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (step, bytes) in &held {
        covariance += (step - mean_step) * (bytes - mean_bytes);
        variance += (step - mean_step) * (step - mean_step);
    }
    let of = |at: Option<&(f64, f64)>| at.map_or(f64::NAN, |(_, bytes)| bytes / 1024.0);
    println!("memory of {LONG} tiny steps, read every {READ_EVERY}:");
    println!(
        "  {:.0} KiB at step {READ_EVERY}, {:.0} KiB at step {LONG}: {:.4} times; slope {:.3} bytes a step",
        of(held.first()),
        of(held.last()),
        of(held.last()) / of(held.first()),
        covariance / variance
    );
    Ok(())
}

/// The bytes that the process holds; NaN where the system does not report them.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |kibibytes| kibibytes * 1024.0)
}

fn between(begun: &[Instant]) -> Vec<f64> {
    let microseconds = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64() * 1e6;
    begun.windows(2).skip(WARM).map(microseconds).collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn print_row(name: &str, numbers: &mut [f64], unit: &str) {
    numbers.sort_unstable_by(f64::total_cmp);
    let (least, most) = (numbers[0], numbers[numbers.len() - 1]);
    let middle = numbers[numbers.len() / 2];
    println!("  {name:<13}{middle:9.2} [{least:.2}, {most:.2}] {unit}");
}
