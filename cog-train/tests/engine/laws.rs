//! The result is independent of micro-batches and, within bounds, of precision.

use cog_train::candle_core::{DType, Tensor};
use cog_train::data::Batching;
use cog_train::engine::{
    Every, Loss, Objective, Params, Precision, StepContext, StopReason, Training, TrainingConfig,
    fit,
};
use cog_train::optim::{AdamW, Muon, Optimizer, Sgd};
use cog_train::prelude::*;

use super::job::{At, Batch, Net, loader, params, rows};

pub(crate) fn numbers(params: &Params) -> Vec<f32> {
    let tensors = params.masters();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors.values().flat_map(flat).collect()
}

pub(crate) fn furthest(one: &[f32], two: &[f32]) -> f32 {
    assert_eq!(one.len(), two.len());
    one.iter().zip(two).map(|(one, two)| (one - two).abs()).fold(0.0, f32::max)
}

/// Trains 3 epochs of 19 rows in batches of 6, whose rows have 1 to 3 targets each, in parts of `micro`.
pub(crate) fn trained(micro: Option<usize>) -> Vec<f32> {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let mut job = Job::for_test(dir.path());
    let net = Net::new(&params, 0.0, At::Nothing, &job);
    let config = TrainingConfig {
        epochs: 3,
        learning_rate: 0.05,
        micro_batch: micro,
        ..TrainingConfig::default()
    };
    let training = Training {
        config,
        params: &params,
        optimizer: Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() }),
        train: loader(rows(19), Batching::Rows(6)),
        eval: None,
    };
    fit(training, &net, &mut job).unwrap();
    numbers(&params)
}

#[test]
fn micro_batches_are_one_batch() {
    let whole = trained(None);
    let start = numbers(&params());
    assert!(furthest(&whole, &start) > 0.1, "it moved");
    for micro in [1, 2, 4, 5] {
        let far = furthest(&trained(Some(micro)), &whole);
        // A mean of means would be off by some hundredths.
        assert!(far < 1e-6, "in parts of {micro}: {far}");
    }
    assert_eq!(trained(Some(6)), whole);
}

#[test]
fn half_precision_with_masters_follows_full_precision() {
    let dir = tempfile::tempdir().unwrap();
    let run = |precision: Precision| {
        let params = params().precision(precision).unwrap();
        let mut job = Job::for_test(dir.path().join(precision.name()));
        let net = Half { net: Net::new(&params, 0.0, At::Nothing, &job) };
        let config =
            TrainingConfig { epochs: 10, learning_rate: 0.01, ..TrainingConfig::default() };
        let training = Training {
            config,
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: loader(rows(19), Batching::Rows(6)),
            eval: None,
        };
        let fitted = fit(training, &net, &mut job).unwrap();
        let computed = params.tensors();
        assert!(computed.values().all(|tensor| tensor.dtype() == precision.dtype()));
        assert!(params.masters().values().all(|tensor| tensor.dtype() == DType::F32));
        for (name, master) in params.masters() {
            let rounded = master.to_dtype(precision.dtype()).unwrap();
            let same = rounded.eq(&computed[&name]).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(same.mean_all().unwrap().to_scalar::<f32>().unwrap(), 1.0, "`{name}`");
        }
        (fitted.loss, numbers(&params))
    };
    let (loss, full) = run(Precision::F32);
    for (precision, most) in [(Precision::F16, 0.05), (Precision::Bf16, 0.1)] {
        let (half_loss, half) = run(precision);
        assert!((half_loss / loss - 1.0).abs() < most, "{half_loss} and {loss}");
        let far = furthest(&half, &full);
        assert!(far > 0.0 && f64::from(far) < 2.0 * most, "{}: {far}", precision.name());
    }
}

/// The same network, computed in the precision of its weights.
struct Half<'a> {
    net: Net<'a>,
}

impl Objective<Batch> for Half<'_> {
    fn loss(&self, batch: &Batch, _context: &StepContext) -> Result<Loss> {
        let tensors = self.net.params.tensors();
        let x = batch.x.to_dtype(tensors["in.weight"].dtype())?;
        let inner = x.matmul(&tensors["in.weight"].t()?)?;
        let inner = inner.broadcast_add(&tensors["in.bias"])?.tanh()?;
        let y = inner.matmul(&tensors["out.weight"].t()?)?;
        let y = y.broadcast_add(&tensors["out.bias"])?;
        let errors = (y.squeeze(1)?.to_dtype(DType::F32)? - &batch.y)?.sqr()?;
        Ok(Loss::sum((errors * &batch.weight)?.sum_all()?, batch.count)?)
    }
}

#[test]
fn muon_with_its_adamw_part_learns_too() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let mut job = Job::for_test(dir.path());
    let net = Net::new(&params, 0.0, At::Nothing, &job);
    let training = Training {
        config: TrainingConfig { epochs: 30, learning_rate: 0.01, ..TrainingConfig::default() },
        params: &params,
        optimizer: Optimizer::muon(Muon::default(), AdamW::default()),
        train: loader(rows(19), Batching::Rows(6)),
        eval: Some(loader(rows(19), Batching::Rows(6))),
    };
    let fitted = fit(training, &net, &mut job).unwrap();
    let (first, last) = (fitted.initial_eval.unwrap().loss, fitted.final_eval.unwrap().loss);
    assert!(last < 0.7 * first, "{first} {last}");
}

#[test]
fn early_stopping_ends_the_run_and_the_best_weights_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let mut job = Job::for_test(dir.path());
    let net = Net::new(&params, 0.0, At::Nothing, &job);
    let eval = || Some(loader(rows(30).split_off(19), Batching::Rows(6)));
    let training = |config| Training {
        config,
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train: loader(rows(19), Batching::Rows(6)),
        eval: eval(),
    };
    let config = TrainingConfig {
        epochs: 1000,
        learning_rate: 0.05,
        eval_every: Every::Steps(3),
        patience: Some(3),
        restore_best: true,
        ..TrainingConfig::default()
    };
    let fitted = fit(training(config), &net, &mut job).unwrap();
    let best = fitted.best.unwrap();
    assert_eq!((fitted.stop_reason, fitted.steps), (StopReason::EarlyStopping, best.step + 9));
    // The summary is of the weights that are returned.
    assert_eq!(fitted.final_eval.as_ref(), Some(&best));
    let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
    let line = format!(
        "step {}: stopped early, the eval loss has not fallen in 3 evaluations; the lowest was {:.4} at step {}",
        fitted.steps, best.loss, best.step
    );
    assert!(log.lines().any(|it| it == line), "{line}: {log}");

    // Measured again, without a step, the weights are those of the best evaluation.
    let again =
        TrainingConfig { max_steps: Some(1), learning_rate: 0.0, ..TrainingConfig::default() };
    let mut job = Job::for_test(dir.path().join("again"));
    let again = fit(training(again), &net, &mut job).unwrap();
    assert_eq!(again.initial_eval.unwrap().loss.to_bits(), best.loss.to_bits());
}

/// The training learns the opposite of what is measured, so the weights that it began with are the best.
#[test]
fn the_first_weights_are_restored_when_no_later_ones_are_better() {
    let dir = tempfile::tempdir().unwrap();
    let wrong: Vec<_> = rows(19).into_iter().map(|(x, y, weight)| (x, -5.0 * y, weight)).collect();
    for ema in [None, Some(0.9)] {
        let params = params();
        let mut job = Job::for_test(dir.path().join(format!("{}", ema.is_some())));
        let net = Net::new(&params, 0.0, At::Nothing, &job);
        let training = Training {
            config: TrainingConfig {
                max_steps: Some(12),
                epochs: 100,
                learning_rate: 0.01,
                ema,
                eval_every: Every::Steps(3),
                save_every: Every::Steps(2),
                restore_best: true,
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer: Optimizer::new(Sgd::default()),
            train: loader(wrong.clone(), Batching::Rows(6)),
            eval: Some(loader(rows(19), Batching::Rows(6))),
        };
        let fitted = fit(training, &net, &mut job).unwrap();
        let best = fitted.best.clone().unwrap();
        assert_eq!((best.step, fitted.steps), (0, 12), "{fitted:?}");
        assert_eq!(Some(&best), fitted.initial_eval.as_ref());
        assert_eq!(Some(&best), fitted.final_eval.as_ref());
        assert_eq!(numbers(&params), numbers(&super::job::params()));
    }
}
