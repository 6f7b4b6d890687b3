//! A training with everything in it: accumulation with ragged ends, dropout, shuffling, clipping, a schedule, averages,
//! evaluation, early stopping.

use std::cell::Cell;
use std::path::Path;

use cog_train::candle_core::{D, DType, Device, Tensor};
use cog_train::checkpoint::Keep;
use cog_train::data::{Batching, Collate, Loader, Rows};
use cog_train::engine::{
    EvalScores, Every, Loss, Objective, Params, Schedule, StepContext, Training, TrainingConfig,
    TrainingSummary, Warmup, fit,
};
use cog_train::optim::{AdamW, Clip, Optimizer};
use cog_train::prelude::*;
use cog_train::rng::Rng;

pub(crate) const STEPS: u64 = 30;
/// Three micro-batches of two rows to a batch, and a last batch of one row: 4 steps an epoch.
pub(crate) const ROWS: usize = 19;
const INPUTS: usize = 6;
const HIDDEN: usize = 10;

/// Numbers of a row: inputs, and the target. Rows have different numbers of targets, from 1 to 3.
pub(crate) type Row = (Vec<f32>, f32, usize);

pub(crate) struct Batch {
    pub(crate) x: Tensor,
    pub(crate) y: Tensor,
    pub(crate) weight: Tensor,
    pub(crate) count: usize,
}

pub(crate) fn rows(count: usize) -> Vec<Row> {
    let row = |at: usize| {
        let mut stream = Rng::new(3, "rows").at(at as u64);
        let x: Vec<f32> = (0..INPUTS).map(|_| stream.normal() as f32).collect();
        let y = x[0] * x[1] - x[2];
        (x, y, 1 + at % 3)
    };
    (0..count).map(row).collect()
}

pub(crate) fn loader(rows: Vec<Row>, batching: Batching) -> Loader<Batch> {
    let collate = |rows: Vec<Row>, batch: &Collate<'_>| collate(&rows, batch.device());
    Loader::new(Rows::new(rows).named("rows"), collate).batch(batching)
}

pub(crate) fn collate(rows: &[Row], device: &Device) -> Result<Batch> {
    let tensor = |numbers: Vec<f32>| Tensor::from_vec(numbers, rows.len(), device);
    let x: Vec<f32> = rows.iter().flat_map(|row| row.0.clone()).collect();
    Ok(Batch {
        x: Tensor::from_vec(x, (rows.len(), INPUTS), device)?,
        y: tensor(rows.iter().map(|row| row.1).collect())?,
        weight: tensor(rows.iter().map(|row| row.2 as f32).collect())?,
        count: rows.iter().map(|row| row.2).sum(),
    })
}

pub(crate) fn params() -> Params {
    let draw = |at: u64, shape: &[usize]| {
        Rng::new(1, "init").at(at).normal_tensor(shape, 0.0, 0.4, DType::F32, &Device::Cpu).unwrap()
    };
    Params::new([
        ("in.weight", draw(0, &[HIDDEN, INPUTS])),
        ("in.bias", draw(1, &[HIDDEN])),
        ("out.weight", draw(2, &[1, HIDDEN])),
        ("out.bias", draw(3, &[1])),
    ])
    .unwrap()
}

/// The event at a step, between its first and its second micro-batch.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum At {
    Nothing,
    Cancel(u64),
    Fail(u64),
    CancelEvaluation(u64),
}

pub(crate) struct Net<'a> {
    pub(crate) params: &'a Params,
    pub(crate) dropout: f64,
    pub(crate) at: At,
    pub(crate) token: cog_train::CancelToken,
    /// Evaluations so far.
    pub(crate) measured: Cell<u64>,
}

impl<'a> Net<'a> {
    pub(crate) fn new(params: &'a Params, dropout: f64, at: At, job: &Job) -> Self {
        Self { params, dropout, at, token: job.cancel_token(), measured: Cell::new(0) }
    }
}

impl Objective<Batch> for Net<'_> {
    fn loss(&self, batch: &Batch, context: &StepContext) -> Result<Loss> {
        let tensors = self.params.tensors();
        let mut inner = batch.x.matmul(&tensors["in.weight"].t()?)?;
        inner = inner.broadcast_add(&tensors["in.bias"])?.tanh()?;
        if context.is_training() && self.dropout > 0.0 {
            let draws = context.stream("dropout", 0).uniform_tensor(
                inner.shape(),
                0.0,
                1.0,
                DType::F32,
                inner.device(),
            )?;
            inner = (inner * draws.ge(self.dropout)?.to_dtype(DType::F32)?)?;
        }
        let y = inner.matmul(&tensors["out.weight"].t()?)?.broadcast_add(&tensors["out.bias"])?;
        let errors = (y.squeeze(D::Minus1)? - &batch.y)?.sqr()?;
        if context.is_training() {
            match self.at {
                At::Cancel(step) if step == context.step() => self.token.cancel(),
                At::Fail(step) if step == context.step() => bail!("killed"),
                _ => {}
            }
        }
        Ok(Loss::sum((errors * &batch.weight)?.sum_all()?, batch.count)?)
    }

    fn evaluate(&self, batch: &Batch, context: &StepContext) -> Result<EvalScores> {
        let number = self.measured.replace(self.measured.get() + 1);
        if self.at == At::CancelEvaluation(number) {
            self.token.cancel();
        }
        let loss = Objective::loss(self, batch, context)?;
        Ok(EvalScores::new(&loss)?.with("twice", 2.0 * loss.value()?, loss.weight()))
    }
}

pub(crate) fn config() -> TrainingConfig {
    TrainingConfig {
        epochs: 100,
        max_steps: Some(STEPS),
        learning_rate: 0.02,
        schedule: Schedule::cosine().warmup(Warmup::Steps(3)),
        micro_batch: Some(2),
        clip: Clip::Norm(0.5),
        ema: Some(0.9),
        eval_every: Every::Steps(5),
        save_every: Every::Steps(7),
        keep_checkpoints: Keep { last: 2, best: true },
        patience: Some(4),
        ..TrainingConfig::default()
    }
}

/// Trains in the job's folder.
pub(crate) fn train(job: &mut Job, config: TrainingConfig, at: At) -> Result<TrainingSummary> {
    let params = params();
    let net = Net::new(&params, 0.3, at, job);
    job.line("a line before the training");
    let training = Training {
        config,
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train: loader(rows(ROWS), Batching::Rows(6)),
        eval: Some(loader(rows(40).split_off(ROWS), Batching::Rows(8))),
    };
    let fitted = fit(training, &net, job)?;
    job.line(format_args!("a line after the training: {}", fitted.loss));
    Weights::save(params.masters(), job.dir().join("weights.safetensors"))?;
    Ok(fitted)
}

/// Everything that a run leaves, but for what the clock decides.
#[derive(PartialEq)]
pub(crate) struct Left {
    pub(crate) weights: Vec<u8>,
    pub(crate) metrics: String,
    pub(crate) log: String,
    pub(crate) checkpoints: Vec<(String, Vec<u8>)>,
    pub(crate) states: Vec<serde_json::Value>,
}

use cog_train::serde_json;

impl Left {
    pub(crate) fn of(dir: &Path) -> Self {
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        let text = |name: &str| String::from_utf8(read(name)).unwrap();
        let metrics = text("metrics.jsonl");
        let metrics: Vec<&str> = metrics.lines().filter(|line| !line.contains("\"time/")).collect();
        let mut checkpoints = Vec::new();
        let mut states = Vec::new();
        let mut folders: Vec<_> = std::fs::read_dir(dir.join("checkpoints"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        folders.sort();
        // The last one: which others are there depends on where the run was stopped.
        let folder = folders.pop().expect("there is a checkpoint");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(&file).unwrap();
            if name == "manifest.json" {
                let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                states.push(manifest["state"]["state"].clone());
                states.push(manifest["state"]["run"].clone());
            } else {
                checkpoints.push((name, bytes));
            }
        }
        Self {
            weights: read("weights.safetensors"),
            metrics: metrics.join("\n"),
            log: text("log.txt"),
            checkpoints,
            states,
        }
    }

    /// Fails with what differs.
    pub(crate) fn assert_same(&self, other: &Self, what: &str) {
        assert_eq!(self.log, other.log, "{what}");
        assert_eq!(self.metrics, other.metrics, "{what}");
        assert_eq!(self.states, other.states, "{what}");
        assert!(self.weights == other.weights, "{what}: the weights differ");
        for (one, two) in self.checkpoints.iter().zip(&other.checkpoints) {
            assert!(one == two, "{what}: {} of the checkpoint differs from {}", one.0, two.0);
        }
        assert_eq!(self.checkpoints.len(), other.checkpoints.len(), "{what}");
    }
}
