//! Batch norm's running statistics in a training: part of its state, and no parameters.

use std::collections::BTreeMap;
use std::path::Path;

use cog_train::candle_core::{DType, Device, Error as TensorError, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    Every, Loss, Params, Precision, StepContext, Training, TrainingConfig, TrainingSummary, fit,
};
use cog_train::nn::{self, BatchNorm2d, Conv2d, Init};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::rng::Rng;

const STEPS: u64 = 6;

struct Net {
    conv: Conv2d,
    norm: BatchNorm2d,
}

impl Net {
    fn new(init: &Init) -> Result<Self, TensorError> {
        let conv = Conv2d::without_bias(&init.at("conv"), 1, 2, 2)?;
        Ok(Self { conv, norm: BatchNorm2d::new(&init.at("bn"), 2)? })
    }

    fn loss(&self, images: &Tensor, context: &StepContext, sign: f64) -> Result<Loss> {
        let sum = nn::trace([images], |[images]| {
            let y = self.norm.forward(&self.conv.forward(&images)?, context.is_training())?;
            let y = nn::relu(&nn::add_scalar(&y, -0.3)?)?;
            nn::sum(&nn::reshape(&nn::mul(&y, &y)?, ((),))?, 0)
        })?;
        Ok(Loss::sum((sum.to_dtype(DType::F32)? * sign)?, images.dim(0)?)?)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Nothing,
    Cancel(u64),
    NaN(u64),
    /// The loss is maximized from this step on.
    Ascend(u64),
}

/// The values at the end, as bits.
type Values = BTreeMap<String, Vec<u32>>;

/// Six steps of three micro-batches of two images each, the last of one.
fn config() -> TrainingConfig {
    TrainingConfig {
        max_steps: Some(STEPS),
        epochs: 10,
        learning_rate: 0.05,
        micro_batch: Some(2),
        save_every: Every::Steps(2),
        ..TrainingConfig::default()
    }
}

fn train(job: &mut Job, at: At, precision: Precision) -> Result<Values, anyhow::Error> {
    Ok(train_by(config(), false, job, at, precision)?.1)
}

fn images(stream: &'static str) -> Rows<Vec<f32>> {
    let image = |row| {
        let mut stream = Rng::new(2, stream).at(row);
        (0..9).map(|_| stream.normal() as f32).collect()
    };
    Rows::new((0..15).map(image).collect())
}

fn train_by(
    config: TrainingConfig,
    evaluate: bool,
    job: &mut Job,
    at: At,
    precision: Precision,
) -> Result<(TrainingSummary, Values), anyhow::Error> {
    let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
    let params = Params::new(init.tensors_of(Net::new)?)?;
    let params = params.buffers("*.running_*")?.precision(precision)?;
    let net = Init::from_tensors(params.tensors()).build(Net::new)?;
    let dtype = precision.dtype();
    let loader = |rows| {
        Loader::new(rows, move |rows: Vec<Vec<f32>>, batch| {
            let images = Tensor::new(rows, batch.device())?.reshape(((), 1, 3, 3))?;
            Ok(images.to_dtype(dtype)?)
        })
        .batch(Batching::Rows(6))
    };
    let token = job.cancel_token();
    let objective = |images: &Tensor, context: &StepContext| {
        match at {
            // The first micro-batch of the step is done by then.
            At::Cancel(step) if step == context.step() => token.cancel(),
            At::NaN(step) if step == context.step() => {
                return net.loss(&images.affine(f64::NAN, 0.0)?, context, 1.0);
            }
            At::Ascend(step) if step <= context.step() && context.is_training() => {
                return net.loss(images, context, -1.0);
            }
            _ => {}
        }
        net.loss(images, context, 1.0)
    };
    let training = Training {
        config,
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train: loader(images("rows")),
        eval: evaluate.then(|| loader(images("held out"))),
    };
    let summary = fit(training, &objective, job)?;
    let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f32::to_bits).collect())
    };
    let values = params.masters().into_iter().map(|(name, tensor)| Ok((name, bits(&tensor)?)));
    Ok((summary, values.collect::<Result<_>>()?))
}

fn fresh(dir: &Path, at: At) -> Result<Values, anyhow::Error> {
    train(&mut Job::for_test(dir), at, Precision::F32)
}

use cog_train::anyhow;

#[test]
fn a_resumed_run_has_the_same_running_statistics() {
    let temp = tempfile::tempdir().unwrap();
    let straight = fresh(&temp.path().join("straight"), At::Nothing).unwrap();
    let first = [0f32, 0.0].map(f32::to_bits);
    assert_ne!(straight["bn.running_mean"], first);
    for step in 0..STEPS {
        let dir = temp.path().join(format!("{step}"));
        fresh(&dir, At::Cancel(step)).unwrap_err();
        let mut job = Job::for_test_resumed(&dir);
        let resumed = train(&mut job, At::Nothing, Precision::F32).unwrap();
        assert_eq!(resumed, straight, "cancelled at step {step}");
    }
}

/// The batch of a skipped step does not count.
#[test]
fn a_skipped_step_leaves_the_running_statistics() {
    let temp = tempfile::tempdir().unwrap();
    let values = fresh(temp.path(), At::NaN(3)).unwrap();
    let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
    assert!(values.values().all(|bits| bits.iter().all(finite)), "{values:?}");
}

/// Training returns the average of the weights at the best step with the running statistics of that step, which is what
/// was evaluated there: a run that ends at that step returns the same.
#[test]
fn the_best_average_is_returned_with_the_running_statistics_of_its_step() {
    let temp = tempfile::tempdir().unwrap();
    let run = |name: &str, config: TrainingConfig| {
        let config = TrainingConfig {
            learning_rate: 0.3,
            ema: Some(0.5),
            eval_every: Every::Steps(1),
            ..config
        };
        let mut job = Job::for_test(temp.path().join(name));
        train_by(config, true, &mut job, At::Ascend(3), Precision::F32).unwrap()
    };
    let (summary, values) = run("best", TrainingConfig { restore_best: true, ..config() });
    let best = summary.best.unwrap();
    assert!((1..STEPS).contains(&best.step), "{best:?}");
    assert_eq!(summary.final_eval.as_ref(), Some(&best));
    let (short, expected) = run("short", TrainingConfig { max_steps: Some(best.step), ..config() });
    assert_eq!(values, expected);
    assert_eq!(short.final_eval, Some(best));
    let (_, last) = run("last", config());
    for name in ["bn.running_mean", "bn.running_var", "bn.weight", "conv.weight"] {
        assert_ne!(values[name], last[name], "{name}");
    }
}

/// They are kept in 32 bits where the model computes in 16: an average that moves by a tenth would stand still.
#[test]
fn running_statistics_move_in_every_precision() {
    let temp = tempfile::tempdir().unwrap();
    let run = |name: &str, precision| {
        let mut job = Job::for_test(temp.path().join(name));
        train(&mut job, At::Nothing, precision).unwrap()["bn.running_var"].clone()
    };
    let pairs = run("f32", Precision::F32).into_iter().zip(run("bf16", Precision::Bf16));
    for (wide, narrow) in pairs {
        let [wide, narrow] = [wide, narrow].map(f32::from_bits);
        assert!((wide / narrow - 1.0).abs() < 0.05 && (wide - 1.0).abs() > 0.1, "{wide} {narrow}");
    }
}
