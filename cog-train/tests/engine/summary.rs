//! The summary of a training: its evaluations, also those that are not finite, and why it ended.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    EvalScores, Every, Loss, Objective, Params, StepContext, StepReport, StopReason, Training,
    TrainingConfig, TrainingSummary, fit, loss_fn,
};
use cog_train::optim::{Optimizer, Sgd};
use cog_train::prelude::*;
use cog_train::{Error, anyhow};

fn loader(rows: Vec<f32>) -> Loader<Tensor> {
    Loader::new(Rows::new(rows), |rows: Vec<f32>, batch| Ok(Tensor::new(rows, batch.device())?))
        .batch(Batching::Rows(1))
        .shuffle(false)
}

fn weight() -> Params {
    Params::new([("weight", Tensor::ones(1, DType::F32, &Device::Cpu).unwrap())]).unwrap()
}

/// A loss that falls with the weight, and held-out losses by number.
struct Scripted {
    weight: Tensor,
    held_out: Vec<f64>,
    number: RefCell<usize>,
}

impl Scripted {
    fn new(params: &Params, held_out: &[f64]) -> Self {
        let weight = params.tensors()["weight"].clone();
        Self { weight, held_out: held_out.to_vec(), number: RefCell::default() }
    }
}

impl Objective<Tensor> for Scripted {
    fn loss(&self, rows: &Tensor, _: &StepContext) -> Result<Loss> {
        Ok(Loss::sum(self.weight.sum_all()?, rows.dim(0)?)?)
    }

    fn evaluate(&self, rows: &Tensor, _: &StepContext) -> Result<EvalScores> {
        let number = self.number.replace_with(|number| *number + 1);
        let loss = Tensor::new(self.held_out[number], &Device::Cpu)?;
        let scores = EvalScores::new(&Loss::sum(loss, rows.dim(0)?)?)?;
        Ok(scores.with(format!("class_{}", "a"), number as f64, 1.0))
    }
}

/// Trains a step for each held-out loss but the first, and gives the weight too.
fn scripted(
    dir: &Path,
    held_out: &[f64],
    config: TrainingConfig,
) -> anyhow::Result<(TrainingSummary, f32)> {
    let params = weight();
    let objective = Scripted::new(&params, held_out);
    let training = Training {
        config: TrainingConfig { learning_rate: 1.0, eval_every: Every::Steps(1), ..config },
        params: &params,
        optimizer: Optimizer::new(Sgd::default()),
        train: loader(vec![0.0; held_out.len() - 1]),
        eval: Some(loader(vec![0.0])),
    };
    let summary = fit(training, &objective, &mut Job::for_test(dir))?;
    Ok((summary, params.masters()["weight"].to_vec1::<f32>()?[0]))
}

#[test]
fn an_evaluation_that_is_not_finite_is_in_the_summary_as_such() {
    let temp = tempfile::tempdir().unwrap();
    let (summary, _) =
        scripted(temp.path(), &[1.0, 2.0, f64::INFINITY], TrainingConfig::default()).unwrap();
    let last = summary.final_eval.unwrap();
    assert_eq!((last.step, last.loss, last.metrics["class_a"]), (2, f64::INFINITY, 2.0));
    assert_eq!(summary.best.unwrap().step, 0);
    let nan = temp.path().join("nan");
    let (summary, _) = scripted(&nan, &[f64::NAN; 3], TrainingConfig::default()).unwrap();
    assert!(summary.final_eval.unwrap().loss.is_nan() && summary.best.is_none());
    assert_eq!((summary.stop_reason, summary.steps), (StopReason::Completed, 2));
    let metrics = std::fs::read_to_string(nan.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"eval_loss\":\"NaN\"").count(), 3, "{metrics}");
}

#[test]
fn early_stopping_does_not_count_the_evaluation_before_the_first_step() {
    let temp = tempfile::tempdir().unwrap();
    for (name, first) in [("nan", f64::NAN), ("inf", f64::INFINITY)] {
        let config = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
        let dir = temp.path().join(name);
        let (summary, _) = scripted(&dir, &[first, 2.0, 1.0], config.clone()).unwrap();
        assert_eq!((summary.stop_reason, summary.steps), (StopReason::Completed, 2), "{name}");
        // The first evaluation after a step counts.
        let dir = temp.path().join(format!("{name}-again"));
        let (summary, _) = scripted(&dir, &[2.0, first, 1.0], config).unwrap();
        assert_eq!((summary.stop_reason, summary.steps), (StopReason::EarlyStopping, 1), "{name}");
        let log = std::fs::read_to_string(dir.join("log.txt")).unwrap();
        let line = "step 1: stopped early, the eval loss has not fallen in the last evaluation; \
                    the lowest was 2.0000 at step 0\n";
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn the_lowest_loss_is_restored_whatever_the_least_improvement() {
    let temp = tempfile::tempdir().unwrap();
    let config = TrainingConfig {
        restore_best: true,
        patience: Some(9),
        min_improvement: 0.5,
        ..TrainingConfig::default()
    };
    let losses = [3.0, 2.0, 1.9, 1.8, 1.7, 1.6, 5.0];
    let (summary, weight) = scripted(temp.path(), &losses, config).unwrap();
    let best = summary.best.unwrap();
    assert_eq!((best.step, best.loss, best.metrics["class_a"]), (5, 1.6, 5.0));
    assert_eq!(summary.final_eval, Some(best), "it is of the weights that are returned");
    assert_eq!(weight, -4.0, "five steps of 1 down from 1");
}

#[test]
fn an_average_of_a_short_run_is_near_its_weights() {
    let temp = tempfile::tempdir().unwrap();
    let config = TrainingConfig { ema: Some(0.9999), ..TrainingConfig::default() };
    let (_, average) = scripted(temp.path(), &[0.0; 51], config).unwrap();
    // The weights went from 1 to -49. Update t keeps (1 + t) / (10 + t) of the average.
    let mut expected = 1.0;
    for t in 1..=50_u8 {
        let (t, weight) = (f64::from(t), 1.0 - f64::from(t));
        let kept = (1.0 + t) / (10.0 + t);
        expected = kept * expected + (1.0 - kept) * weight;
    }
    assert!((f64::from(average) - expected).abs() < 1e-3, "{average} {expected}");
    assert!(average < -40.0);
}

/// Stops at a step, and remembers the reports.
struct Hooked {
    inner: Scripted,
    stop: u64,
    seen: RefCell<Vec<StepReport>>,
    cancel_at: Option<(u64, cog_train::CancelToken)>,
}

impl Objective<Tensor> for Hooked {
    fn loss(&self, rows: &Tensor, context: &StepContext) -> Result<Loss> {
        if let Some((step, token)) = &self.cancel_at
            && context.is_training()
            && *step == context.step() + 1
        {
            token.cancel();
        }
        self.inner.loss(rows, context)
    }

    fn on_step(&self, report: &StepReport) -> ControlFlow<()> {
        self.seen.borrow_mut().push(*report);
        if report.step >= self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn hooked(
    mut job: Job,
    stop: u64,
    cancel_at: Option<u64>,
) -> (anyhow::Result<TrainingSummary>, Vec<StepReport>, f32) {
    let params = weight();
    let objective = Hooked {
        inner: Scripted::new(&params, &[0.5; 9]),
        stop,
        seen: RefCell::default(),
        cancel_at: cancel_at.map(|step| (step, job.cancel_token())),
    };
    let training = Training {
        config: TrainingConfig {
            epochs: 2,
            learning_rate: 0.5,
            eval_every: Every::End,
            save_every: Every::Steps(2),
            ..TrainingConfig::default()
        },
        params: &params,
        optimizer: Optimizer::new(Sgd::default()),
        train: loader(vec![0.0; 4]),
        eval: Some(loader(vec![0.0])),
    };
    let summary = fit(training, &objective, &mut job);
    let weight = params.masters()["weight"].to_vec1::<f32>().unwrap()[0];
    (summary, objective.seen.into_inner(), weight)
}

#[test]
fn the_hook_sees_every_step_and_ends_the_training_as_a_finished_one() {
    let temp = tempfile::tempdir().unwrap();
    let (summary, seen, weight) = hooked(Job::for_test(temp.path()), 5, None);
    let summary = summary.unwrap();
    assert_eq!((summary.stop_reason, summary.steps, weight), (StopReason::Hook, 5, -1.5));
    assert_eq!(summary.final_eval.unwrap().step, 5, "it is evaluated");
    assert!(temp.path().join("checkpoints/step-000005").exists(), "and saved");
    let numbers: Vec<_> = seen.iter().map(|it| (it.step, it.steps, it.epoch, it.loss)).collect();
    let expected =
        [(1, 8, 1, 1.0), (2, 8, 1, 0.5), (3, 8, 1, 0.0), (4, 8, 1, -0.5), (5, 8, 2, -1.0)];
    assert_eq!(numbers, expected);
    assert!(seen.iter().all(|it| it.learning_rate == 0.5 && it.grad_norm == 1.0 && !it.skipped));
    let log = std::fs::read_to_string(temp.path().join("log.txt")).unwrap();
    assert!(log.contains("step 5: stopped by `on_step`\n"), "{log}");
    // Resumed, there is nothing left to do.
    let (again, seen, weight) = hooked(Job::for_test_resumed(temp.path()), 5, None);
    assert_eq!((again.unwrap().stop_reason, seen.len(), weight), (StopReason::Hook, 0, -1.5));
}

#[test]
fn a_hooked_run_that_is_resumed_is_the_straight_run() {
    let temp = tempfile::tempdir().unwrap();
    let left = |dir: &Path| {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let metrics = read("metrics.jsonl");
        let metrics: Vec<_> = metrics.lines().filter(|line| !line.contains("time/")).collect();
        (metrics.join("\n"), read("log.txt"))
    };
    let straight_dir = temp.path().join("straight");
    let (straight, ..) = hooked(Job::for_test(&straight_dir), 5, None);
    let straight = straight.unwrap();
    for cancel in 1..=5 {
        let dir = temp.path().join(cancel.to_string());
        let (first, ..) = hooked(Job::for_test(&dir), 5, Some(cancel));
        if let Err(error) = first {
            assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)), "{error:?}");
        }
        let (second, ..) = hooked(Job::for_test_resumed(&dir), 5, None);
        assert_eq!(second.unwrap(), straight, "cancelled in step {cancel}");
        assert_eq!(left(&dir), left(&straight_dir), "cancelled in step {cancel}");
    }
    let (all, seen, _) = hooked(Job::for_test(temp.path().join("all")), 99, None);
    assert_eq!((all.unwrap().stop_reason, seen.len()), (StopReason::Completed, 8));
}

#[test]
fn a_closure_needs_no_type_but_the_batchs() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight();
    let weight = params.tensors()["weight"].clone();
    let loss = loss_fn(|rows: &Tensor, _| Ok(Loss::sum(weight.sum_all()?, rows.dim(0)?)?));
    let training = Training {
        config: TrainingConfig::default(),
        params: &params,
        optimizer: Optimizer::new(Sgd::default()),
        train: loader(vec![0.0; 4]),
        eval: None,
    };
    let stopped = loss.on_step(|report| match report.step {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let summary = fit(training, &stopped, &mut Job::for_test(temp.path())).unwrap();
    assert_eq!((summary.stop_reason, summary.steps), (StopReason::Hook, 3));
}
