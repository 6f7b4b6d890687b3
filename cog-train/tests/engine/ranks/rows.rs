//! A training of a tensor so large that ranks divide its rows.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use cog_train::CancelToken;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    Every, Loss, Objective, Params, Precision, StepContext, StepReport, Training, TrainingConfig,
    fit,
};
use cog_train::optim::{AdamW, AdamW8bit, Clip, Lion, Optimizer, Sgd};
use cog_train::parallel::Communicator;
use cog_train::prelude::*;
use cog_train::rng::Rng;

use super::run::{MakeOptimizer, job_on};
use crate::job::Left;
use crate::threads::on_ranks;

/// Three blocks of 128 rows, and some more.
const TABLE: (usize, usize) = (3 * 128 + 9, 8192);
const SMALL: (usize, usize) = (8192, 2);
const STEPS: u64 = 4;

struct Net {
    table: Tensor,
    small: Tensor,
    token: CancelToken,
    stops_at: Option<u64>,
    /// The bytes of parameters that are there after each step.
    bytes: RefCell<Vec<usize>>,
}

struct Watched<'a>(&'a Net, &'a Params);

impl Objective<Vec<u32>> for Watched<'_> {
    fn loss(&self, rows: &Vec<u32>, context: &StepContext) -> Result<Loss> {
        let Self(net, _) = self;
        if net.stops_at == Some(context.step()) {
            net.token.cancel();
        }
        let picked = net.table.index_select(&Tensor::new(&rows[..], &Device::Cpu)?, 0)?;
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        let scores = wide(&picked)?.matmul(&wide(&net.small)?)?;
        Ok(Loss::sum((scores - 1.0)?.sqr()?.sum_all()?, rows.len())?)
    }

    fn on_step(&self, _: &StepReport) -> ControlFlow<()> {
        self.0.bytes.borrow_mut().push(self.1.bytes());
        ControlFlow::Continue(())
    }
}

#[derive(Clone, Copy)]
struct Run {
    optimizer: MakeOptimizer,
    precision: Precision,
    steps: u64,
    /// The step at which the second rank of several is cancelled.
    stops_at: Option<u64>,
}

/// The end of a training on one rank.
#[derive(Debug)]
struct Ended {
    /// The bytes of its parameters after each step.
    bytes: Vec<usize>,
    /// The bytes that went from one rank to another, over all ranks.
    traffic: usize,
}

impl Run {
    fn on(self, world: usize, dir: &Path, resumed: bool) -> Vec<Result<Ended>> {
        on_ranks(world, |threads| {
            let rank = threads.rank();
            let mut job = job_on(threads.clone(), dir, resumed);
            let mut stream = Rng::new(3, "init").at(0);
            let mut normal = |shape: (usize, usize)| {
                stream.normal_tensor(shape, 0.0, 0.02, DType::F32, &Device::Cpu).unwrap()
            };
            let tensors = [("table", normal(TABLE)), ("small", normal(SMALL))];
            let params = Params::new(tensors)?.precision(self.precision)?;
            let tensors = params.tensors();
            let net = Net {
                table: tensors["table"].clone(),
                small: tensors["small"].clone(),
                token: job.cancel_token(),
                stops_at: self.stops_at.filter(|_| rank + 1 == world.min(2)),
                bytes: RefCell::default(),
            };
            let rows: Vec<u32> = (0..40).map(|at| at * 37 % TABLE.0 as u32).collect();
            let training = Training {
                config: TrainingConfig {
                    max_steps: Some(self.steps),
                    micro_batch: Some(2),
                    learning_rate: 0.01,
                    clip: Clip::Norm(1.0),
                    ema: Some(0.5),
                    save_every: Every::End,
                    check_gradients: false,
                    ..TrainingConfig::default()
                },
                params: &params,
                optimizer: (self.optimizer)(),
                train: Loader::new(Rows::new(rows), |rows, _| Ok(rows)).batch(Batching::Rows(9)),
                eval: None,
            };
            fit(training, &Watched(&net, &params), &mut job)?;
            Weights::save(params.masters(), job.dir().join("weights.safetensors"))?;
            Ok(Ended { bytes: net.bytes.take(), traffic: threads.traffic() })
        })
    }
}

const ADAMW: Run = Run {
    optimizer: || Optimizer::new(AdamW::default()),
    precision: Precision::F32,
    steps: STEPS,
    stops_at: None,
};

/// The state of whole tensors, in 8 bits.
const ADAMW_8BIT: Run = Run { optimizer: || Optimizer::new(AdamW8bit::default()), ..ADAMW };

#[test]
fn divided_rows_leave_the_same_bytes_on_any_number_of_ranks() {
    let lion: MakeOptimizer = || Optimizer::new(Lion::default());
    let sgd: MakeOptimizer = || Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() });
    let runs = [
        ("adamw", ADAMW, &[2, 4][..]),
        ("adamw_8bit", ADAMW_8BIT, &[4]),
        ("lion", Run { optimizer: lion, precision: Precision::Bf16, ..ADAMW }, &[2, 4]),
        ("sgd", Run { optimizer: sgd, ..ADAMW }, &[4]),
    ];
    for (what, run, worlds) in runs {
        let temp = tempfile::tempdir().unwrap();
        let on = |world: usize| {
            let dir = temp.path().join(format!("{world}"));
            run.on(world, &dir, false).into_iter().for_each(|it| drop(it.unwrap()));
            Left::of(&dir)
        };
        let one = on(1);
        for world in worlds {
            on(*world).assert_same(&one, &format!("{what}, {world} ranks"));
        }
    }
}

#[test]
fn divided_rows_are_resumed_on_any_number_of_ranks() {
    let runs = [
        (Run { precision: Precision::Bf16, ..ADAMW }, &[(1, 4), (4, 2)][..]),
        (ADAMW_8BIT, &[(4, 2)]),
    ];
    for (run, worlds) in runs {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("straight");
        run.on(1, &dir, false).into_iter().for_each(|it| drop(it.unwrap()));
        let straight = Left::of(&dir);
        for &(from, to) in worlds {
            let dir = temp.path().join(format!("{from}-{to}"));
            for result in (Run { stops_at: Some(2), ..run }).on(from, &dir, false) {
                let error = result.unwrap_err();
                let error = error.downcast_ref();
                assert!(matches!(error, Some(cog_train::Error::Cancelled)), "{error:?}");
            }
            run.on(to, &dir, true).into_iter().for_each(|it| drop(it.unwrap()));
            Left::of(&dir).assert_same(&straight, &format!("from {from} to {to} ranks"));
        }
    }
}

/// A rank holds the masters of what it owns, and what the model computes with.
#[test]
fn masters_are_divided_among_ranks() {
    let run = Run { precision: Precision::Bf16, ..ADAMW };
    let all = TABLE.0 * TABLE.1 + SMALL.0 * SMALL.1;
    let temp = tempfile::tempdir().unwrap();
    for world in [1, 2, 4] {
        let ranks = run.on(world, &temp.path().join(format!("{world}")), false);
        let bytes: Vec<usize> = ranks.into_iter().map(|it| it.unwrap().bytes[0]).collect();
        assert_eq!(bytes.iter().sum::<usize>(), world * 2 * all + 4 * all, "{bytes:?}");
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        assert!(most - least <= 4 * 2 * (1 << 20), "{bytes:?}");
    }
}

/// Gradients go to their owners, and weights from there to all: a ring all-reduce sends as much, `2 (n - 1) / n` of the gradients from
/// each of n ranks. Weights of 16 bits are half of that way back.
#[test]
fn a_step_sends_the_bytes_of_a_ring_all_reduce() {
    let all = TABLE.0 * TABLE.1 + SMALL.0 * SMALL.1;
    let temp = tempfile::tempdir().unwrap();
    for (precision, back, world) in [(Precision::F32, 4, 4), (Precision::Bf16, 2, 2)] {
        let sent = |steps| {
            let dir = temp.path().join(format!("{world}-{steps}"));
            let ended = Run { precision, steps, ..ADAMW }.on(world, &dir, false).remove(0);
            ended.unwrap().traffic
        };
        assert_eq!(sent(2) - sent(1), (world - 1) * (4 + back) * all, "{world} ranks");
    }
}
