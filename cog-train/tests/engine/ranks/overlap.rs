//! Gradients travel while a backward pass computes others.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cog_train::candle_core::{
    self as candle, CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor,
};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Every, Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::nn::Linear;
use cog_train::optim::{Optimizer, Sgd};
use cog_train::parallel::Communicator;
use cog_train::prelude::*;
use cog_train::{Error, parallel};

use crate::job::Left;
use crate::threads::{Threads, on_ranks};

/// A communicator that counts the exchanges that have ended.
#[derive(Debug)]
struct Counted {
    threads: Arc<Threads>,
    exchanges: Arc<AtomicU64>,
}

impl Communicator for Counted {
    fn rank(&self) -> usize {
        parallel::Communicator::rank(&*self.threads)
    }
    fn world_size(&self) -> usize {
        self.threads.world_size()
    }
    fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        self.threads.sum(tensor)
    }
    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error> {
        self.threads.broadcast(tensor, root)
    }
    fn all_to_all(&self, parts: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let received = self.threads.all_to_all(parts);
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        received
    }
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.threads.gather(bytes)
    }
    fn agree(&self, flags: u64) -> Result<u64, Error> {
        self.threads.agree(flags)
    }
    fn barrier(&self) -> Result<(), Error> {
        self.threads.barrier()
    }
}

/// The identity. Its backward step waits until an exchange has ended since it was made.
struct AwaitExchange {
    exchanges: Arc<AtomicU64>,
    before: u64,
    /// Whether one has, for each backward step.
    seen: Arc<Mutex<Vec<bool>>>,
}

impl CustomOp1 for AwaitExchange {
    fn name(&self) -> &'static str {
        "await-exchange"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle::Result<(CpuStorage, Shape)> {
        Ok((storage.clone(), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> candle::Result<Option<Tensor>> {
        let began = Instant::now();
        let has_ended = || self.exchanges.load(Ordering::SeqCst) > self.before;
        while !has_ended() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.seen.lock().unwrap().push(has_ended());
        Ok(Some(gradient.clone()))
    }
}

fn training(params: &Params, steps: u64) -> Training<'_, Vec<f32>> {
    Training {
        config: TrainingConfig {
            epochs: 10,
            max_steps: Some(steps),
            micro_batch: Some(1),
            learning_rate: 0.01,
            save_every: Every::End,
            ..TrainingConfig::default()
        },
        params,
        optimizer: Optimizer::new(Sgd::default()),
        train: Loader::new(Rows::new((1..9u8).map(f32::from).collect()), |rows, _| Ok(rows))
            .batch(Batching::Rows(2)),
        eval: None,
    }
}

/// Two layers; between them the backward pass waits. The gradient of the second one fills the first buckets of both ranks.
#[test]
fn a_bucket_travels_before_the_backward_pass_has_ended() {
    const WIDE: usize = 2900;
    const STEPS: u64 = 3;
    let seen = on_ranks(2, |threads| {
        let temp = tempfile::tempdir().unwrap();
        let full = |shape: &[usize]| Tensor::full(1e-3f32, shape, &Device::Cpu).unwrap();
        let params =
            Params::new([("a.first", full(&[WIDE, 64])), ("b.second", full(&[WIDE, WIDE]))]);
        let params = params.unwrap();
        let tensors = params.tensors();
        let layer = |name: &str| Linear::from_tensors(tensors[name].clone(), None);
        let (first, second) = (layer("a.first"), layer("b.second"));
        let exchanges = Arc::new(AtomicU64::new(0));
        let seen: Arc<Mutex<Vec<bool>>> = Arc::default();
        let loss = |rows: &Vec<f32>, context: &StepContext| {
            let x = first.forward(&Tensor::full(rows[0], (1, 64), &Device::Cpu)?)?;
            // The first step's order is that of names.
            let x = if context.step() == 0 {
                x
            } else {
                let before = exchanges.load(Ordering::SeqCst);
                let seen = Arc::clone(&seen);
                x.apply_op1(AwaitExchange { exchanges: Arc::clone(&exchanges), before, seen })?
            };
            Ok(Loss::sum(second.forward(&x)?.sqr()?.sum_all()?, rows.len())?)
        };
        let communicator = Counted { threads, exchanges: Arc::clone(&exchanges) };
        let mut job = Job::for_test(temp.path()).on_rank(Arc::new(communicator));
        fit(training(&params, STEPS), &loss, &mut job).unwrap();
        seen.lock().unwrap().clone()
    });
    assert_eq!(seen, vec![vec![true; STEPS as usize - 1]; 2]);
}

/// From the third step on candle adds to a gradient that the tape alone had before, on one rank: the step is taken again.
#[test]
fn a_gradient_that_grows_after_it_was_sent_is_sent_whole() {
    let temp = tempfile::tempdir().unwrap();
    let train = |world: usize| {
        let dir = temp.path().join(format!("{world}"));
        let computed = on_ranks(world, |threads| {
            let rank = parallel::Communicator::rank(&*threads);
            let ramp = |count: u8, shape: (usize, usize)| {
                let values: Vec<f32> = (0..count).map(|it| f32::from(it).sin()).collect();
                Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
            };
            let params = Params::new([("a", ramp(12, (3, 4))), ("b", ramp(6, (2, 3)))]).unwrap();
            let tensors = params.tensors();
            let layer = |name: &str| Linear::from_tensors(tensors[name].clone(), None);
            let (first, second) = (layer("a"), layer("b"));
            let losses = AtomicU64::new(0);
            let loss = |rows: &Vec<f32>, context: &StepContext| {
                losses.fetch_add(1, Ordering::SeqCst);
                let x = first.forward(&Tensor::full(rows[0] / 9.0, (1, 4), &Device::Cpu)?)?;
                let mut sum = second.forward(&x)?.sqr()?.sum_all()?;
                if context.step() >= 2 && rows[0] > 4.0 {
                    sum = (sum + tensors["b"].to_dtype(DType::F32)?.sqr()?.sum_all()?)?;
                }
                Ok(Loss::sum(sum, rows.len())?)
            };
            let own = if rank == 0 { dir.clone() } else { dir.with_extension(format!("{rank}")) };
            let mut job = Job::for_test(&own).on_rank(threads);
            fit(training(&params, 8), &loss, &mut job).unwrap();
            Weights::save(params.masters(), own.join("weights.safetensors")).unwrap();
            losses.into_inner()
        });
        (Left::of(Path::new(&dir)), computed)
    };
    let (one, alone) = train(1);
    let (two, computed) = train(2);
    two.assert_same(&one, "2 ranks");
    assert_eq!(alone, [16]);
    // Each rank takes one of two micro-batches a step, and the first such step of either rank twice.
    assert!(computed == [9, 9] || computed == [10, 10], "{computed:?}");
}
