//! Batch norm's running statistics in a training: part of its state, and no parameters.

use std::collections::BTreeMap;
use std::path::Path;

use cog_train::candle_core::{DType, Device, Error as TensorError, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    Every, Loss, Params, Precision, StepContext, Training, TrainingConfig, fit,
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

    fn loss(&self, images: &Tensor, context: &StepContext) -> Result<Loss> {
        let sum = nn::trace([images], |[images]| {
            let y = self.norm.forward(&self.conv.forward(&images)?, context.is_training())?;
            let y = nn::relu(&nn::add_scalar(&y, -0.3)?)?;
            nn::sum(&nn::reshape(&nn::mul(&y, &y)?, ((),))?, 0)
        })?;
        Ok(Loss::sum(sum.to_dtype(DType::F32)?, images.dim(0)?)?)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Nothing,
    Cancel(u64),
    NaN(u64),
}

/// Six steps of three micro-batches of two images each, the last of one. The values at the end, as bits.
fn train(
    job: &mut Job,
    at: At,
    precision: Precision,
) -> Result<BTreeMap<String, Vec<u32>>, anyhow::Error> {
    let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
    let params = Params::new(init.tensors_of(Net::new)?)?;
    let params = params.buffers("*.running_*")?.precision(precision)?;
    let net = Init::from_tensors(params.tensors()).build(Net::new)?;
    let rows: Vec<Vec<f32>> = (0..15)
        .map(|row| {
            let mut stream = Rng::new(2, "rows").at(row);
            (0..9).map(|_| stream.normal() as f32).collect()
        })
        .collect();
    let dtype = precision.dtype();
    let train = Loader::new(Rows::new(rows), move |rows: Vec<Vec<f32>>, batch| {
        let images = Tensor::new(rows, batch.device())?.reshape(((), 1, 3, 3))?;
        Ok(images.to_dtype(dtype)?)
    });
    let token = job.cancel_token();
    let objective = |images: &Tensor, context: &StepContext| {
        match at {
            // The first micro-batch of the step is done by then.
            At::Cancel(step) if step == context.step() => token.cancel(),
            At::NaN(step) if step == context.step() => {
                return net.loss(&images.affine(f64::NAN, 0.0)?, context);
            }
            _ => {}
        }
        net.loss(images, context)
    };
    let training = Training {
        config: TrainingConfig {
            max_steps: Some(STEPS),
            epochs: 10,
            learning_rate: 0.05,
            micro_batch: Some(2),
            save_every: Every::Steps(2),
            ..TrainingConfig::default()
        },
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train: train.batch(Batching::Rows(6)),
        eval: None,
    };
    fit(training, &objective, job)?;
    let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f32::to_bits).collect())
    };
    params.masters().iter().map(|(name, tensor)| Ok((name.clone(), bits(tensor)?))).collect()
}

fn fresh(dir: &Path, at: At) -> Result<BTreeMap<String, Vec<u32>>, anyhow::Error> {
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
