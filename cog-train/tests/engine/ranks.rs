//! The result of a training is the same on any number of ranks, byte for byte.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::Keep;
use cog_train::data::{Batching, Dataset, Loader, Rows};
use cog_train::engine::{
    EvalScores, Every, Loss, Objective, Params, Precision, Reduce, StepContext, StepReport,
    StopReason, Training, TrainingConfig, TrainingSummary, fit,
};
use cog_train::metrics::ConfusionMatrix;
use cog_train::nn::{self, BatchNorm2d, Dropout, Embedding, Init, Initializer, LayerNorm, Linear};
use cog_train::optim::{Adafactor, AdamW, Clip, Lion, Muon, Optimizer, Sgd};
use cog_train::prelude::*;
use cog_train::rng::Rng;
use cog_train::{CancelToken, Error};

use super::job::Left;
use super::threads::{Threads, on_ranks};

const WORDS: usize = 11;
const WIDTH: usize = 6;
const STEPS: u64 = 7;

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

/// What happens at a step on one rank of a run, or on its only one.
#[derive(Clone, Copy, PartialEq)]
enum At {
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

type MakeOptimizer = fn() -> Optimizer;

/// A training, and the ranks that it is done by.
#[derive(Clone)]
struct Run {
    config: TrainingConfig,
    optimizer: MakeOptimizer,
    batching: Batching,
    precision: Precision,
    rows: usize,
    at: At,
    /// The rank of a world of four, and so on, at which `at` happens.
    rank: usize,
}

impl Run {
    fn new(optimizer: MakeOptimizer) -> Self {
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

    fn at(self, rank: usize, at: At) -> Self {
        Self { at, rank, ..self }
    }

    /// Trains on one rank.
    fn train(&self, job: &mut Job) -> Result<TrainingSummary> {
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
    fn on(&self, world: usize, dir: &Path, resumed: bool) -> Vec<Result<TrainingSummary>> {
        on_ranks(world, |threads| {
            let rank = cog_train::parallel::Communicator::rank(&*threads);
            // As a launcher does it: other ranks have folders of their own, and no run to resume.
            let other = dir.with_extension(format!("rank-{rank}"));
            let job = match rank {
                0 if resumed => Job::for_test_resumed(dir),
                0 => Job::for_test(dir),
                _ => Job::for_test(&other),
            };
            let result = self.train(&mut job.on_rank(threads));
            assert!(rank == 0 || !other.join("checkpoints").exists(), "one rank writes");
            result
        })
    }
}

/// Everything that is left of a run, with the names of all checkpoints.
fn left(dir: &Path) -> (Left, Vec<String>) {
    let entries = std::fs::read_dir(dir.join("checkpoints")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    (Left::of(dir), names)
}

/// Checks that a training leaves the same on 1, 2 and 4 ranks.
fn assert_same_on_all_worlds(run: &Run, what: &str) {
    let temp = tempfile::tempdir().unwrap();
    let on = |world: usize| {
        let dir = temp.path().join(format!("{world}"));
        let summaries: Vec<TrainingSummary> =
            run.on(world, &dir, false).into_iter().map(Result::unwrap).collect();
        let weights: Vec<Vec<u8>> = (1..world)
            .map(|rank| dir.with_extension(format!("rank-{rank}")).join("weights.safetensors"))
            .map(|path| std::fs::read(path).unwrap())
            .collect();
        let (left, names) = left(&dir);
        assert!(
            weights.iter().all(|weights| *weights == left.weights),
            "{what}: every rank has them"
        );
        assert!(summaries.iter().all(|it| format!("{it:?}") == format!("{:?}", summaries[0])));
        (left, names, format!("{:?}", summaries[0]))
    };
    let one = on(1);
    for world in [2, 4] {
        let other = on(world);
        other.0.assert_same(&one.0, &format!("{what}, {world} ranks"));
        assert_eq!((other.1, other.2), (one.1.clone(), one.2.clone()), "{what}, {world} ranks");
    }
}

#[test]
fn each_optimizer_leaves_the_same_bytes_on_any_number_of_ranks() {
    let optimizers: [(&str, MakeOptimizer); 5] = [
        ("adamw", || Optimizer::new(AdamW::default())),
        ("adafactor", || Optimizer::new(Adafactor::default())),
        ("muon", || Optimizer::muon(Muon::default(), AdamW::default())),
        ("sgd", || Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() })),
        ("lion", || Optimizer::new(Lion::default())),
    ];
    for (name, optimizer) in optimizers {
        assert_same_on_all_worlds(&Run::new(optimizer), name);
    }
}

fn adamw() -> Run {
    Run::new(|| Optimizer::new(AdamW::default()))
}

#[test]
fn clipping_averages_and_early_stopping_are_the_same_on_any_number_of_ranks() {
    for (what, clip) in [("norm", Clip::Norm(0.3)), ("value", Clip::Value(0.01))] {
        let mut run = adamw();
        let (clip, ema) = (clip, Some(0.8));
        run.config = TrainingConfig { clip, ema, restore_best: true, ..run.config };
        assert_same_on_all_worlds(&run, what);
    }
    let mut run = adamw();
    let config = run.config;
    run.config = TrainingConfig {
        learning_rate: 0.5,
        max_steps: Some(40),
        patience: Some(2),
        restore_best: true,
        eval_every: Every::Steps(1),
        ..config
    };
    assert_same_on_all_worlds(&run, "early stopping");
}

/// Of 3, 4 and 5 micro-batches, with a last batch of fewer, down to one row.
#[test]
fn any_number_of_micro_batches_gives_the_same_on_any_number_of_ranks() {
    for (batch, micro, rows) in [(3, 1, 10), (8, 2, 17), (10, 2, 23), (5, 1, 12)] {
        let mut run = adamw();
        (run.batching, run.rows) = (Batching::Rows(batch), rows);
        run.config.micro_batch = Some(micro);
        assert_same_on_all_worlds(&run, &format!("{rows} rows in batches of {batch}"));
    }
    let mut run = adamw();
    run.batching = Batching::Tokens { most: 40, pool: 16 };
    assert_same_on_all_worlds(&run, "by tokens");
}

#[test]
fn sixteen_bits_give_the_same_on_any_number_of_ranks() {
    for precision in [Precision::Bf16, Precision::F16] {
        let mut run = Run { precision, ..adamw() };
        run.config.ema = Some(0.8);
        assert_same_on_all_worlds(&run, precision.name());
    }
}

/// A step that is not finite on one rank alone is skipped on all.
#[test]
fn a_skipped_step_is_skipped_on_all_ranks() {
    let temp = tempfile::tempdir().unwrap();
    let summaries = adamw().at(1, At::NaN(2)).on(2, &temp.path().join("2"), false);
    for summary in summaries {
        assert_eq!(summary.unwrap().skipped_steps, 1);
    }
    let log = std::fs::read_to_string(temp.path().join("2/log.txt")).unwrap();
    assert!(log.contains("step 3 is skipped: the loss is NaN (rows: texts row "), "{log}");
}

#[test]
fn a_run_of_four_ranks_is_resumed_on_one_and_two() {
    let temp = tempfile::tempdir().unwrap();
    let mut run = adamw();
    (run.config.ema, run.config.clip) = (Some(0.8), Clip::Norm(0.3));
    let dir = temp.path().join("straight");
    run.on(1, &dir, false).into_iter().for_each(|it| drop(it.unwrap()));
    let straight = left(&dir);
    for step in 0..STEPS {
        for world in [1, 2, 4] {
            let dir = temp.path().join(format!("{step}-{world}"));
            // The third rank gets the signal; all stop after the same step.
            for result in run.clone().at(2, At::Cancel(step)).on(4, &dir, false) {
                let error = result.unwrap_err();
                assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)), "{error:?}");
            }
            run.on(world, &dir, true).into_iter().for_each(|it| drop(it.unwrap()));
            let resumed = left(&dir);
            resumed.0.assert_same(&straight.0, &format!("stopped at {step}, resumed on {world}"));
        }
    }
}

/// All ranks fail with the words of the one that has, and the run can be resumed.
#[test]
fn the_failure_of_one_rank_is_that_of_all() {
    let temp = tempfile::tempdir().unwrap();
    let run = adamw();
    let straight = temp.path().join("straight");
    run.on(1, &straight, false).into_iter().for_each(|it| drop(it.unwrap()));
    let dir = temp.path().join("failed");
    for result in run.clone().at(1, At::Fail(5)).on(4, &dir, false) {
        assert_eq!(result.unwrap_err().to_string(), "rank 1: killed");
    }
    run.on(4, &dir, true).into_iter().for_each(|it| drop(it.unwrap()));
    Left::of(&dir).assert_same(&Left::of(&straight), "failed and resumed");
}

/// The device of one rank is too small: all ranks halve their micro-batches, as one alone would.
#[test]
fn a_lack_of_memory_on_one_rank_halves_the_micro_batches_of_all() {
    let temp = tempfile::tempdir().unwrap();
    let mut run = adamw();
    run.batching = Batching::Rows(8);
    let train = |world: usize, rank: usize| {
        let dir = temp.path().join(format!("{world}"));
        let run = run.clone().at(rank, At::OutOfMemory(4));
        run.on(world, &dir, false).into_iter().for_each(|it| drop(it.unwrap()));
        left(&dir)
    };
    let (one, four) = (train(1, 0), train(4, 3));
    four.0.assert_same(&one.0, "four ranks");
    let line = "out of memory with 2 rows at once: retrying with 1, and the batch stays the same";
    assert!(one.0.log.lines().any(|it| it == line), "{}", one.0.log);
}

#[test]
fn a_rank_without_room_for_a_single_row_fails_all() {
    let temp = tempfile::tempdir().unwrap();
    for result in adamw().at(2, At::AlwaysOutOfMemory).on(4, &temp.path().join("4"), false) {
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "rank 2: one row alone is too large for the device");
    }
}

#[test]
fn the_hook_of_one_rank_stops_all() {
    let temp = tempfile::tempdir().unwrap();
    for result in adamw().at(1, At::Break(4)).on(2, &temp.path().join("2"), false) {
        let summary = result.unwrap();
        assert_eq!((summary.stop_reason, summary.steps), (StopReason::Hook, 4));
    }
}

#[test]
fn the_order_of_the_transport_gives_the_same_up_to_rounding() {
    let temp = tempfile::tempdir().unwrap();
    let train = |reduce: Reduce, world: usize| {
        let mut run = adamw();
        run.config.reduce = reduce;
        let dir = temp.path().join(format!("{world}"));
        let summary = run.on(world, &dir, false).remove(0).unwrap();
        (
            summary,
            Weights::open(dir.join("weights.safetensors").to_str().unwrap())
                .unwrap()
                .tensors(&Device::Cpu)
                .unwrap(),
        )
    };
    let (exact, weights) = train(Reduce::Exact, 1);
    let (fast, others) = train(Reduce::Fast, 4);
    assert!((fast.loss / exact.loss - 1.0).abs() < 1e-3, "{} {}", fast.loss, exact.loss);
    for (name, weight) in weights {
        let far = (weight - &others[&name]).unwrap().abs().unwrap().flatten_all().unwrap();
        let far = far.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(far < 1e-3, "`{name}` {far}");
    }
}

/// A network with a large frozen part: of a step, the gradients and the weights of what is trained travel.
#[test]
fn only_trained_tensors_travel() {
    const WIDE: usize = 1000;
    const STEPS: u64 = 3;
    let traffic = on_ranks(2, |threads: Arc<Threads>| {
        let temp = tempfile::tempdir().unwrap();
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let params = Params::new([
            ("a", ones(&[1, 10])),
            ("b", ones(&[10, 1])),
            ("base", ones(&[WIDE, WIDE])),
        ]);
        let params = params.unwrap().freeze("base").unwrap();
        let tensors = params.tensors();
        let loss = |rows: &Vec<f32>, _: &StepContext| {
            let all = (tensors["a"].matmul(&tensors["b"])? * 0.1)?;
            let base = tensors["base"].get(0)?.get(0)?;
            Ok(Loss::sum((all.sum_all()? * base)?, rows.len())?)
        };
        let mut job = Job::for_test(temp.path()).on_rank(threads.clone());
        let training = Training {
            config: TrainingConfig {
                max_steps: Some(STEPS),
                micro_batch: Some(1),
                save_every: Every::End,
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: Loader::new(Rows::new(vec![1f32; 12]), |rows, _| Ok(rows))
                .batch(Batching::Rows(2)),
            eval: None,
        };
        fit(training, &loss, &mut job).unwrap();
        threads.traffic()
    });
    // Two tensors of 40 bytes, each with an owner: the weights of the first rank go to the second at the start. In each
    // step, the gradient of each goes to its owner and its weight back. In the checkpoint, that of the second rank and its
    // two moments go to the first.
    let expected = 2 * 40 + STEPS as usize * (2 * 40 + 2 * 40) + 3 * 40;
    assert_eq!(traffic[0], expected);
}

/// What `fit` says to a training on `world` ranks that it refuses.
fn refusal(world: usize, run: &Run) -> String {
    let temp = tempfile::tempdir().unwrap();
    let errors: Vec<String> = run
        .on(world, &temp.path().join("run"), false)
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    errors[0].clone()
}

#[test]
fn ranks_that_cannot_share_a_batch_are_refused() {
    assert_eq!(
        refusal(3, &adamw()),
        "3 ranks are not a power of two: they share the micro-batches of a batch (`micro_batch`) in equal blocks\n\
         hint: start 2 or 4 ranks"
    );
    let mut run = adamw();
    run.config.micro_batch = None;
    assert_eq!(
        refusal(4, &run),
        "a batch of 9 rows is 1 micro-batch (`micro_batch`), too few for 4 ranks\nhint: take a `micro_batch` of 2, or 1 rank"
    );
    run.batching = Batching::Rows(1);
    assert_eq!(
        refusal(2, &run),
        "a batch of 1 row is 1 micro-batch (`micro_batch`), too few for 2 ranks\nhint: take larger batches, or 1 rank"
    );
}

/// Running statistics depend on the order of micro-batches.
#[test]
fn a_model_that_updates_itself_is_refused_on_ranks() {
    let errors = on_ranks(2, |threads| {
        let temp = tempfile::tempdir().unwrap();
        let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
        let tensors = init.tensors_of(|init| BatchNorm2d::new(&init.at("bn"), 2)).unwrap();
        let params = Params::new(tensors).unwrap().buffers("*.running_*").unwrap();
        let loss = |_: &Vec<f32>, _: &StepContext| -> Result<Loss> { unreachable!() };
        let training = Training {
            config: TrainingConfig { micro_batch: Some(1), ..TrainingConfig::default() },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: Loader::new(Rows::new(vec![1f32; 12]), |rows, _| Ok(rows)),
            eval: None,
        };
        let mut job = Job::for_test(temp.path()).on_rank(threads);
        fit(training, &loss, &mut job).unwrap_err().to_string()
    });
    let expected = "the model updates `bn.running_mean` in each forward pass, in the order of micro-batches, and 2 ranks compute \
                    them at the same time\nhint: train it in one process, or take a model without such buffers";
    assert_eq!(errors, [expected, expected]);
}

/// Ranks with other data would train something that no single process can.
#[test]
fn ranks_that_would_train_different_things_are_refused() {
    let errors = on_ranks(2, |threads| {
        let rank = cog_train::parallel::Communicator::rank(&*threads);
        let temp = tempfile::tempdir().unwrap();
        let run = Run { rows: 23 + rank, ..adamw() };
        run.train(&mut Job::for_test(temp.path()).on_rank(threads)).unwrap_err()
    });
    for error in errors {
        assert!(matches!(error.downcast_ref(), Some(Error::Ranks { .. })), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("rank 1: it would not train the same as rank 0\n  "), "{text}");
        assert!(text.contains("`data.settings.rows`: 23 on rank 0, 24"), "{text}");
    }
}

/// The optimizer's state is divided among the ranks.
#[test]
fn a_dry_run_reports_the_memory_of_a_rank() {
    let report = |world: usize| {
        let temp = tempfile::tempdir().unwrap();
        let reports = on_ranks(world, |threads| {
            let rank = cog_train::parallel::Communicator::rank(&*threads);
            let dir = temp.path().join(format!("{rank}"));
            let tensors = (0..8).map(|at| {
                (format!("weight.{at}"), Tensor::ones(1 << 18, DType::F32, &Device::Cpu).unwrap())
            });
            let params = Params::new(tensors).unwrap();
            let tensors = params.tensors();
            let loss = |rows: &Vec<f32>, _: &StepContext| -> Result<Loss> {
                let mut sum = Tensor::zeros((), DType::F32, &Device::Cpu)?;
                for tensor in tensors.values() {
                    sum = (sum + tensor.sum_all()?)?;
                }
                Ok(Loss::sum(sum, rows.len())?)
            };
            let training = Training {
                config: TrainingConfig { micro_batch: Some(1), ..TrainingConfig::default() },
                params: &params,
                optimizer: Optimizer::new(AdamW::default()),
                train: Loader::new(Rows::new(vec![1f32; 12]), |rows, _| Ok(rows)),
                eval: None,
            };
            let mut job = Job::for_test_planned(&dir, &dir).on_rank(threads);
            fit(training, &loss, &mut job).unwrap();
            std::fs::read_to_string(dir.join("log.txt")).unwrap()
        });
        let lines = reports[0].lines();
        lines.filter(|line| line.starts_with("memory")).collect::<Vec<_>>().join("\n")
    };
    let (one, four) = (report(1), report(4));
    assert!(one.starts_with("memory: about ") && one.contains("optimizer 16.0 MiB"), "{one}");
    assert!(four.starts_with("memory of each of 4 ranks: about "), "{four}");
    assert!(four.contains("optimizer 4.0 MiB"), "{four}");
    // A checkpoint has the state of all.
    assert!(four.contains("a checkpoint on its way 24.0 MiB"), "{four}");
}
