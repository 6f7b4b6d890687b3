//! A lack of memory anywhere is retried on the same batch in smaller micro-batches.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cog_train::candle_core::Tensor;
use cog_train::data::{Batching, Collate, Loader, Rows};
use cog_train::engine::{Loss, Objective, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{Optimizer, Sgd};
use cog_train::prelude::*;

use super::job::{At, Batch, Net, Row, loader, params, rows};
use super::laws::{furthest, numbers, trained};

/// The text of candle's error on a GPU without room.
const SHORT: &str = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";

/// A device that has no room for some forward passes.
struct Narrow<'a, F> {
    net: Net<'a>,
    /// Whether a pass over so many rows fails, by its number.
    fails: F,
    passes: Cell<usize>,
    refused: Cell<usize>,
}

impl<F: Fn(usize, usize) -> bool> Objective<Batch> for Narrow<'_, F> {
    fn loss(&self, batch: &Batch, context: &StepContext) -> Result<Loss> {
        let number = self.passes.replace(self.passes.get() + 1);
        if (self.fails)(number, batch.x.dim(0)?) {
            self.refused.set(self.refused.get() + 1);
            bail!(SHORT);
        }
        self.net.loss(batch, context)
    }
}

/// The result of the training of [`trained`] on such a device.
struct Left {
    weights: Vec<f32>,
    refused: usize,
    log: String,
}

fn narrow(
    micro: Option<usize>,
    measured: bool,
    train: Loader<Batch>,
    fails: impl Fn(usize, usize) -> bool,
) -> Result<Left> {
    let dir = tempfile::tempdir()?;
    let params = params();
    let mut job = Job::for_test(dir.path());
    let net = Net::new(&params, 0.0, At::Nothing, &job);
    let narrow = Narrow { net, fails, passes: Cell::new(0), refused: Cell::new(0) };
    let training = Training {
        config: TrainingConfig {
            epochs: 3,
            learning_rate: 0.05,
            micro_batch: micro,
            ..TrainingConfig::default()
        },
        params: &params,
        optimizer: Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() }),
        train,
        eval: measured.then(|| loader(rows(10), Batching::Rows(4))),
    };
    let fitted = fit(training, &narrow, &mut job)?;
    assert_eq!(fitted.steps, 12);
    let log = std::fs::read_to_string(dir.path().join("log.txt"))?;
    Ok(Left { weights: numbers(&params), refused: narrow.refused.get(), log })
}

fn train() -> Loader<Batch> {
    loader(rows(19), Batching::Rows(6))
}

#[test]
fn a_step_short_of_memory_halves_its_micro_batch_until_it_fits() {
    let left = narrow(None, false, train(), |_, rows| rows > 2).unwrap();
    // 6 -> 3 -> 2, and never again.
    assert_eq!(left.refused, 2);
    for words in ["with 6 rows at once: retrying with 3", "with 3 rows at once: retrying with 2"] {
        assert!(left.log.contains(&format!("out of memory {words}")), "{}", left.log);
    }
    assert_eq!(left.weights, trained(Some(2)));
    assert!(furthest(&left.weights, &trained(None)) < 1e-6);
}

/// Gradients of the parts before it are there by then: none of them may be counted twice.
#[test]
fn a_step_short_of_memory_midway_is_retried_from_its_start() {
    // The parts of the first batch are 2, 2 and 2; the numbers are those of the passes.
    for failing in [1, 2, 4, 5] {
        let left = narrow(Some(2), false, train(), |number, _| number == failing).unwrap();
        assert_eq!(left.refused, 1);
        assert!(left.log.contains("with 2 rows at once: retrying with 1"), "{}", left.log);
        let far = furthest(&left.weights, &trained(None));
        assert!(far < 1e-6, "pass {failing}: {far}");
    }
    // Where it fails before anything has changed, it is the training that had smaller parts from the start.
    let left = narrow(Some(2), false, train(), |number, _| number == 2).unwrap();
    assert_eq!(left.weights, trained(Some(1)));
}

#[test]
fn an_evaluation_short_of_memory_halves_the_micro_batch_of_steps_too() {
    let left = narrow(None, true, train(), |_, rows| rows > 2).unwrap();
    // 4 -> 2.
    assert_eq!(left.refused, 1);
    assert!(left.log.contains("out of memory with 4 rows at once: retrying with 2"));
    assert_eq!(left.weights, trained(Some(2)));
}

/// A collate function puts its batch on the device: there may be no room for that.
#[test]
fn a_batch_short_of_memory_is_collated_again_in_smaller_parts() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    let collate = move |rows: Vec<Row>, batch: &Collate<'_>| {
        if rows.len() > 3 {
            counter.fetch_add(1, Ordering::Relaxed);
            bail!(SHORT);
        }
        super::job::collate(&rows, batch.device())
    };
    let made = Loader::new(Rows::new(rows(19)).named("rows"), collate).batch(Batching::Rows(6));
    // One batch at a time, so that none is made ahead before the first is refused.
    let left = narrow(None, false, made.threads(0), |_, _| false).unwrap();
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    assert!(left.log.contains("out of memory with 6 rows at once: retrying with 3"));
    assert_eq!(left.weights, trained(Some(3)));
}

#[test]
fn one_row_without_room_is_an_error() {
    for measured in [true, false] {
        let error = narrow(None, measured, train(), |_, _| true).err().unwrap();
        assert!(format!("{error:#}").starts_with("one row alone is too large"), "{error:#}");
    }
}

/// Any other failure ends the run at once.
#[test]
fn any_other_error_is_not_retried() {
    let params = params();
    let dir = tempfile::tempdir().unwrap();
    let calls = Cell::new(0);
    let loss = |_: &Batch, _: &StepContext| -> Result<Loss> {
        calls.set(calls.get() + 1);
        let a = Tensor::zeros((2, 3), cog_train::candle_core::DType::F32, params.device())?;
        a.matmul(&a)?;
        unreachable!("the shapes do not go together")
    };
    let training = Training {
        config: TrainingConfig::default(),
        params: &params,
        optimizer: Optimizer::new(Sgd::default()),
        train: train(),
        eval: None,
    };
    fit(training, &loss, &mut Job::for_test(dir.path())).unwrap_err();
    assert_eq!(calls.get(), 1);
}
