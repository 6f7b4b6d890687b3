//! A small training on any number of ranks.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cog_train::CancelToken;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::Keep;
use cog_train::data::{Batching, Dataset, Loader, Rows};
use cog_train::engine::{
    EvalScores, Every, Loss, Objective, Params, Precision, StepContext, StepReport, Training,
    TrainingConfig, TrainingSummary, fit,
};
use cog_train::metrics::ConfusionMatrix;
use cog_train::nn::{self, Dropout, Embedding, Init, Initializer, LayerNorm, Linear};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::parallel::Communicator;
use cog_train::prelude::*;
use cog_train::rng::Rng;

use crate::threads::{Threads, on_ranks};

const WORDS: usize = 11;
const WIDTH: usize = 6;
pub(super) const STEPS: u64 = 7;

/// Words, of which each but the first is to be guessed from the one before.
type Text = Vec<u32>;

struct Batch {
    /// The rows' numbers in the data.
    rows: Vec<u32>,
    words: Tensor,
    targets: Tensor,
}

fn texts(count: usize, purpose: &str) -> Rows<Text> {
    let text = |row: usize| {
        let mut stream = Rng::new(5, purpose).at(row as u64);
        (0..2 + row * 5 % 7).map(|_| stream.below(WORDS as u64) as u32).collect()
    };
    Rows::new((0..count).map(text).collect()).named("texts")
}

fn loader(texts: Rows<Text>, batching: Batching) -> Loader<Batch> {
    let texts = texts.with_tokens(Vec::len).unwrap();
    Loader::new(texts, |texts: Vec<Text>, batch| {
        let words: Vec<u32> = texts.iter().flat_map(|it| it[..it.len() - 1].to_vec()).collect();
        let targets: Vec<u32> = texts.iter().flat_map(|it| it[1..].to_vec()).collect();
        let tensor = |words: Vec<u32>| Tensor::new(words, batch.device());
        let rows = batch.rows().to_vec();
        Ok(Batch { rows, words: tensor(words)?, targets: tensor(targets)? })
    })
    .batch(batching)
}

/// A network whose embedding is its head too: its gradient has parts from two layers and from an operation of candle's. The
/// parameter `rare` gets a gradient from some micro-batches alone.
struct Layers {
    embedding: Embedding,
    norm: LayerNorm,
    dropout: Dropout,
    inner: Linear,
    head: Linear,
    rare: Tensor,
}

impl Layers {
    fn new(init: &Init) -> Result<Self, cog_train::candle_core::Error> {
        let embedding = Embedding::new(&init.at("embed"), WORDS, WIDTH)?;
        let head = Linear::tied(&init.at("head"), embedding.weight())?;
        Ok(Self {
            head,
            embedding,
            norm: LayerNorm::new(&init.at("norm"), WIDTH, 1e-5)?,
            dropout: Dropout::new(&init.at("inner"), 0.2)?,
            inner: Linear::new(&init.at("inner"), WIDTH, WIDTH)?,
            rare: init.tensor("rare", (), Initializer::ONES)?,
        })
    }

    fn params() -> Params {
        let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
        Params::new(init.tensors_of(Self::new).unwrap()).unwrap()
    }
}

/// The event at a step on one rank of a run, or on its only one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum At {
    Nothing,
    Cancel(u64),
    Fail(u64),
    OutOfMemory(u64),
    /// However few rows there are at once.
    AlwaysOutOfMemory,
    Break(u64),
    NaN(u64),
}

struct Net {
    layers: Layers,
    embedding: Tensor,
    at: At,
    token: CancelToken,
    /// Whether it was out of memory.
    short: Cell<bool>,
}

impl Net {
    fn new(params: &Params, at: At, job: &Job) -> Self {
        let tensors = params.tensors();
        let embedding = tensors["embed.weight"].clone();
        let layers = Init::from_tensors(tensors).build(Layers::new).unwrap();
        Self { layers, embedding, at, token: job.cancel_token(), short: Cell::new(false) }
    }

    fn scores(&self, batch: &Batch) -> Result<Tensor> {
        let Layers { embedding, norm, dropout, inner, head, .. } = &self.layers;
        Ok(nn::trace([&batch.words], |[words]| {
            let x = embedding.forward(&words)?;
            let y = inner.forward(&dropout.forward(&norm.forward(&x)?)?)?;
            head.forward(&nn::add(&x, &y)?)
        })?)
    }
}

impl Objective<Batch> for Net {
    fn loss(&self, batch: &Batch, context: &StepContext) -> Result<Loss> {
        if context.is_training() {
            match self.at {
                At::Cancel(step) if step == context.step() => self.token.cancel(),
                At::Fail(step) if step == context.step() => bail!("killed"),
                At::OutOfMemory(step) if step == context.step() && !self.short.replace(true) => {
                    bail!("out of memory")
                }
                At::AlwaysOutOfMemory => bail!("out of memory"),
                _ => {}
            }
        }
        let scores = self.scores(batch)?.to_dtype(DType::F32)?;
        let mut sum = nn::cross_entropy(&scores, &batch.targets)?;
        sum = (sum + (self.embedding.to_dtype(DType::F32)?.sqr()?.sum_all()? * 0.01)?)?;
        if batch.rows.iter().any(|row| row % 5 == 0) || context.step() == 0 {
            sum = (sum + (self.layers.rare.to_dtype(DType::F32)?.sqr()? * 0.1)?)?;
        }
        if context.is_training() && self.at == At::NaN(context.step()) {
            sum = (sum * f64::NAN)?;
        }
        Ok(Loss::sum(sum, batch.targets.elem_count())?)
    }

    fn evaluate(&self, batch: &Batch, context: &StepContext) -> Result<EvalScores> {
        let loss = Objective::loss(self, batch, context)?;
        let scores = self.scores(batch)?.to_dtype(DType::F32)?;
        let matrix = ConfusionMatrix::of(&scores, &batch.targets)?;
        let scores = EvalScores::new(&loss)?.with("thirds", loss.value()? / 3.0, loss.weight());
        Ok(scores.with_metric(matrix))
    }

    fn on_step(&self, report: &StepReport) -> ControlFlow<()> {
        if self.at == At::Break(report.step) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

pub(super) type MakeOptimizer = fn() -> Optimizer;

/// A training, and the ranks that it is done by.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) config: TrainingConfig,
    pub(super) optimizer: MakeOptimizer,
    pub(super) batching: Batching,
    pub(super) precision: Precision,
    pub(super) rows: usize,
    pub(super) at: At,
    /// The rank of a world of four, and so on, at which `at` happens.
    pub(super) rank: usize,
}

impl Run {
    pub(super) fn new(optimizer: MakeOptimizer) -> Self {
        let config = TrainingConfig {
            epochs: 10,
            max_steps: Some(STEPS),
            learning_rate: 0.02,
            micro_batch: Some(2),
            eval_every: Every::Steps(3),
            save_every: Every::Steps(2),
            keep_checkpoints: Keep { last: 10, best: true },
            ..TrainingConfig::default()
        };
        Self {
            config,
            optimizer,
            // Five micro-batches, the last of the epoch has three.
            batching: Batching::Rows(9),
            precision: Precision::F32,
            rows: 23,
            at: At::Nothing,
            rank: 0,
        }
    }

    pub(super) fn at(self, rank: usize, at: At) -> Self {
        Self { at, rank, ..self }
    }

    /// Trains on one rank.
    pub(super) fn train(&self, job: &mut Job) -> Result<TrainingSummary> {
        let params = Layers::params().precision(self.precision)?;
        let rank = job.communicator().rank();
        let at = if rank == self.rank { self.at } else { At::Nothing };
        let net = Net::new(&params, at, job);
        let training = Training {
            config: self.config.clone(),
            params: &params,
            optimizer: (self.optimizer)(),
            train: loader(texts(self.rows, "train"), self.batching),
            eval: Some(loader(texts(17, "eval"), Batching::Rows(3))),
        };
        let summary = fit(training, &net, job)?;
        Weights::save(params.masters(), job.dir().join("weights.safetensors"))?;
        let computed = params.tensors();
        for (name, master) in params.masters() {
            let rounded = master.to_dtype(computed[&name].dtype())?.to_dtype(DType::F32)?;
            let difference = (computed[&name].to_dtype(DType::F32)? - rounded)?.abs()?.sum_all()?;
            assert_eq!(difference.to_scalar::<f32>()?, 0.0, "`{name}` follows its master");
        }
        Ok(summary)
    }

    /// Trains on `world` ranks, the first of which writes to `dir`.
    pub(super) fn on(
        &self,
        world: usize,
        dir: &Path,
        resumed: bool,
    ) -> Vec<Result<TrainingSummary>> {
        on_ranks(world, |threads| {
            let rank = threads.rank();
            let mut job = job_on(threads, dir, resumed);
            let result = self.train(&mut job);
            assert!(rank == 0 || !job.dir().join("checkpoints").exists(), "one rank writes");
            result
        })
    }
}

/// Returns a rank's job as a launcher makes it: that of rank 0 in `dir`; other ranks have folders of their own, and no run to resume.
pub(super) fn job_on(threads: Arc<Threads>, dir: &Path, resumed: bool) -> Job {
    let job = match threads.rank() {
        0 if resumed => Job::for_test_resumed(dir),
        0 => Job::for_test(dir),
        rank => Job::for_test(dir.with_extension(format!("rank-{rank}"))),
    };
    job.on_rank(threads)
}

pub(super) fn adamw() -> Run {
    Run::new(|| Optimizer::new(AdamW::default()))
}
