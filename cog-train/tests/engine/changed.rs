//! A run that has changed since its checkpoint is refused, each difference by its name; by force it is resumed.

use std::path::Path;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::checkpoint::newest;
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    Every, Loss, Params, Precision, StepContext, StopReason, Training, TrainingConfig,
    TrainingSummary, fit,
};
use cog_train::optim::{Adam, AdamW, Lion, Optimizer, Sgd};
use cog_train::prelude::*;
use cog_train::{Error, anyhow};

/// The settings that can differ when a run is resumed.
#[derive(Clone)]
struct Run {
    config: TrainingConfig,
    rows: Vec<f32>,
    eval: Vec<f32>,
    shuffle: bool,
    batching: Batching,
    optimizer: fn() -> Optimizer,
    weight: (&'static str, usize),
    frozen: bool,
    precision: Precision,
}

fn numbers(count: u8) -> Vec<f32> {
    (0..count).map(|at| f32::from(at) / 8.0 - 1.0).collect()
}

fn run() -> Run {
    Run {
        config: TrainingConfig {
            epochs: 100,
            max_steps: Some(12),
            learning_rate: 0.05,
            eval_every: Every::Steps(4),
            save_every: Every::Steps(5),
            ..TrainingConfig::default()
        },
        rows: numbers(20),
        eval: numbers(5),
        shuffle: true,
        batching: Batching::Rows(3),
        optimizer: || Optimizer::new(AdamW::default()),
        weight: ("weight", 2),
        frozen: false,
        precision: Precision::F32,
    }
}

/// Trains a polynomial through the sine of the rows, and gives its weights too. `stop` ends it after so many steps.
fn train(mut job: Job, run: Run, stop: Option<u64>) -> anyhow::Result<(TrainingSummary, Vec<f32>)> {
    let ones = |count| Tensor::ones(count, DType::F32, &Device::Cpu);
    let (name, width) = run.weight;
    let mut params =
        Params::new([(name, ones(width)?), ("bias", ones(1)?)])?.precision(run.precision)?;
    if run.frozen {
        params = params.freeze("bias")?;
    }
    let tensors = params.tensors();
    let token = job.cancel_token();
    let loss = |rows: &Tensor, context: &StepContext| {
        if context.is_training() && Some(context.step() + 1) == stop {
            token.cancel();
        }
        let weights = tensors[name].to_dtype(DType::F32)?;
        let bias = tensors["bias"].to_dtype(DType::F32)?;
        let mut guess = rows.zeros_like()?.broadcast_add(&bias)?;
        for power in 0..width {
            let weight = weights.get(power)?;
            guess = (guess + rows.powf(power as f64 + 1.0)?.broadcast_mul(&weight)?)?;
        }
        Ok(Loss::sum((guess - rows.sin()?)?.sqr()?.sum_all()?, rows.dim(0)?)?)
    };
    let loader = |rows| {
        Loader::new(Rows::new(rows).named("numbers"), |rows: Vec<f32>, batch| {
            Ok(Tensor::new(rows, batch.device())?)
        })
        .batch(run.batching)
        .shuffle(run.shuffle)
    };
    let training = Training {
        config: run.config,
        params: &params,
        optimizer: (run.optimizer)(),
        train: loader(run.rows),
        eval: Some(loader(run.eval)),
    };
    let fitted = fit(training, &loss, &mut job)?;
    let weights = params.masters()[name].to_vec1()?;
    Ok((fitted, weights))
}

/// A run that was stopped at step 9.
fn stopped(dir: &Path) {
    let error = train(Job::for_test(dir), run(), Some(9)).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)), "{error:?}");
}

#[test]
fn a_changed_run_is_refused_with_each_difference_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run");
    stopped(&dir);
    let mut other_number = numbers(20);
    other_number[7] += 0.5;
    let config = run().config;
    let cases: Vec<(Run, &[&str])> = vec![
        (Run { rows: other_number, ..run() }, &["`data.digest`: \""]),
        (
            Run { rows: numbers(21), ..run() },
            &["`data.digest`: \"", "`data.settings.rows`: 20 then, 21 now"],
        ),
        (Run { eval: numbers(6), ..run() }, &["`eval.settings.rows`: 5 then, 6 now"]),
        (Run { shuffle: false, ..run() }, &["`data.settings.shuffle`: true then, false now"]),
        (
            Run { batching: Batching::Rows(4), ..run() },
            &["`data.settings.batching.rows`: 3 then, 4 now"],
        ),
        (
            Run { optimizer: || Optimizer::new(AdamW { beta2: 0.5, ..AdamW::default() }), ..run() },
            &["`optimizer.rule", "0.999 then, 0.5 now"],
        ),
        (Run { optimizer: || Optimizer::new(Lion::default()), ..run() }, &["`optimizer.rule"]),
        (
            Run { weight: ("scale", 2), ..run() },
            &["`parameters.weight`: {", "gone now", "`parameters.scale`: not there then"],
        ),
        (Run { weight: ("weight", 3), ..run() }, &["`parameters.weight.shape`: [2] then, [3] now"]),
        (Run { frozen: true, ..run() }, &["`parameters.bias.trained`: true then, false now"]),
        (Run { precision: Precision::F16, ..run() }, &["`precision`: \"f32\" then, \"f16\" now"]),
        (
            Run { config: TrainingConfig { restore_best: true, ..config.clone() }, ..run() },
            &["`config.restore_best`: false then, true now"],
        ),
        (
            Run { config: TrainingConfig { max_skipped_steps: 7, ..config.clone() }, ..run() },
            &["`config.max_skipped_steps`: 5 then, 7 now"],
        ),
        (
            Run { config: TrainingConfig { check_gradients: false, ..config.clone() }, ..run() },
            &["`config.check_gradients`: true then, false now"],
        ),
    ];
    for (changed, names) in cases {
        let changed_shapes = (changed.weight != run().weight).then_some(());
        let error = train(Job::for_test_resumed(&dir), changed, None).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error.downcast_ref(), Some(Error::Resume { .. })), "{text}");
        assert!(
            text.starts_with(
                "the run cannot be resumed: it has changed since its checkpoint at step 9\n"
            ),
            "{text}"
        );
        let forced = changed_shapes.is_none();
        assert_eq!(
            text.ends_with("\nhint: `--resume=force` resumes it all the same"),
            forced,
            "{text}"
        );
        for name in names {
            assert!(text.contains(name), "{name}: {text}");
        }
    }
    // When checkpoints are written changes nothing of the result. And what was refused has touched nothing.
    let often = TrainingConfig { save_every: Every::Steps(1), ..config };
    let resumed = train(Job::for_test_resumed(&dir), Run { config: often, ..run() }, None).unwrap();
    assert_eq!(resumed, train(Job::for_test(temp.path().join("straight")), run(), None).unwrap());
}

#[test]
fn a_forced_longer_run_equals_the_straight_longer_run() {
    let temp = tempfile::tempdir().unwrap();
    let longer = || Run { config: TrainingConfig { max_steps: Some(20), ..run().config }, ..run() };
    let straight = train(Job::for_test(temp.path().join("straight")), longer(), None).unwrap();
    assert_eq!(straight.0.steps, 20);
    let dir = temp.path().join("run");
    stopped(&dir);
    let forced = train(Job::for_test_forced(&dir), longer(), None).unwrap();
    assert_eq!(forced, straight);
    // Its next checkpoint is of the longer run: nothing is left to be forced.
    let again = train(Job::for_test_resumed(&dir), longer(), None).unwrap();
    assert_eq!(again, straight);
}

#[test]
fn a_forced_run_past_its_new_end_ends() {
    let temp = tempfile::tempdir().unwrap();
    stopped(temp.path());
    let shorter = Run { config: TrainingConfig { max_steps: Some(4), ..run().config }, ..run() };
    let (fitted, _) = train(Job::for_test_forced(temp.path()), shorter, None).unwrap();
    assert_eq!(fitted.steps, 9);
    assert!(fitted.final_eval.unwrap().loss.is_finite(), "its weights are evaluated");
}

#[test]
fn a_forced_run_with_more_patience_continues_after_early_stopping() {
    let temp = tempfile::tempdir().unwrap();
    let with = |patience| {
        let config =
            TrainingConfig { learning_rate: 0.0, patience: Some(patience), ..run().config };
        Run { config, ..run() }
    };
    let (fitted, _) = train(Job::for_test(temp.path()), with(1), None).unwrap();
    assert_eq!((fitted.stop_reason, fitted.steps), (StopReason::EarlyStopping, 4));
    let (fitted, _) = train(Job::for_test_forced(temp.path()), with(2), None).unwrap();
    assert_eq!((fitted.stop_reason, fitted.steps), (StopReason::EarlyStopping, 8));
}

#[test]
fn parameters_of_other_names_or_shapes_are_refused_and_force_is_not_offered() {
    let temp = tempfile::tempdir().unwrap();
    stopped(temp.path());
    for (changed, words) in [
        (Run { weight: ("weight", 3), ..run() }, "`parameters.weight.shape`: [2] then, [3] now"),
        (Run { weight: ("scale", 2), ..run() }, "`parameters.scale`: not there then"),
    ] {
        for job in [Job::for_test_resumed(temp.path()), Job::for_test_forced(temp.path())] {
            let error = train(job, changed.clone(), None).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Error::Resume { .. })), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(words) && !text.contains("--resume=force"), "{text}");
            assert!(text.contains("\nhint: parameters of other names or shapes"), "{text}");
        }
    }
}

/// The weights of the checkpoint at step 9.
fn at_9(dir: &Path) -> Vec<f32> {
    let found = newest(&dir.join("checkpoints")).unwrap().checkpoint.unwrap();
    assert_eq!(found.step(), 9);
    found.tensors("weights", &Device::Cpu).unwrap()["weight"].to_vec1().unwrap()
}

#[test]
fn a_forced_run_with_another_optimizer_starts_it_anew_on_the_checkpoints_weights() {
    let temp = tempfile::tempdir().unwrap();
    stopped(temp.path());
    let saved = at_9(temp.path());
    // One step of SGD at a rate of 0: what comes out is what was restored.
    let sgd = Run {
        optimizer: || Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() }),
        config: TrainingConfig { learning_rate: 0.0, ..run().config },
        ..run()
    };
    let refused = train(Job::for_test_resumed(temp.path()), sgd.clone(), None).unwrap_err();
    assert!(refused.to_string().contains("hint: `--resume=force`"), "{refused}");
    let (summary, weights) = train(Job::for_test_forced(temp.path()), sgd, None).unwrap();
    assert_eq!((summary.steps, weights), (12, saved));
}

/// Adam's first step is the learning rate itself, whatever the gradient: its count of steps begins anew too.
#[test]
fn a_forced_run_counts_the_steps_of_a_new_optimizer_from_one() {
    let temp = tempfile::tempdir().unwrap();
    let lion = || Run { optimizer: || Optimizer::new(Lion::default()), ..run() };
    train(Job::for_test(temp.path()), lion(), Some(9)).unwrap_err();
    let saved = at_9(temp.path());
    let adam = Run {
        optimizer: || Optimizer::new(Adam::default()),
        config: TrainingConfig { max_steps: Some(10), learning_rate: 0.01, ..run().config },
        ..run()
    };
    let (_, weights) = train(Job::for_test_forced(temp.path()), adam, None).unwrap();
    for (weight, before) in weights.iter().zip(&saved) {
        assert!(((weight - before).abs() - 0.01).abs() < 1e-5, "{weight} {before}");
    }
}

#[test]
fn a_forced_run_starts_a_new_moving_average_at_the_checkpoints_weights() {
    let temp = tempfile::tempdir().unwrap();
    stopped(temp.path());
    let saved = at_9(temp.path());
    let averaged = Run {
        config: TrainingConfig { ema: Some(0.9), learning_rate: 0.0, ..run().config },
        ..run()
    };
    let (_, weights) = train(Job::for_test_forced(temp.path()), averaged, None).unwrap();
    assert_eq!(weights, saved);
    // And one that is left out leaves the weights.
    let (_, weights) = train(
        Job::for_test_forced(temp.path()),
        Run { config: TrainingConfig { learning_rate: 0.0, ..run().config }, ..run() },
        None,
    )
    .unwrap();
    assert_eq!(weights, saved);
}

#[test]
fn a_forced_run_keeps_the_trained_value_of_a_parameter_frozen_now() {
    let temp = tempfile::tempdir().unwrap();
    stopped(temp.path());
    let still = TrainingConfig { learning_rate: 0.0, ..run().config };
    let all = Run { config: still.clone(), ..run() };
    let frozen = Run { frozen: true, config: still, ..run() };
    let forced = |run, name: &str| {
        let copy = temp.path().join(name);
        stopped(&copy);
        train(Job::for_test_forced(&copy), run, None).unwrap().0.final_eval.unwrap().loss
    };
    assert_eq!(forced(frozen, "frozen").to_bits(), forced(all, "all").to_bits());
}

/// Frozen parameters are in no checkpoint: the run would continue on others in silence.
#[test]
fn a_resume_on_other_frozen_parameters_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let run_on = |mut job: Job, base: f32, stop: Option<u64>| {
        let tensor = |number: f32| Tensor::new(&[number], &Device::Cpu).unwrap();
        let params = Params::new([("base", tensor(base)), ("weight", tensor(0.0))]).unwrap();
        let params = params.freeze("base").unwrap();
        let (tensors, token) = (params.tensors(), job.cancel_token());
        let loss = |rows: &Tensor, context: &StepContext| {
            if Some(context.step() + 1) == stop {
                token.cancel();
            }
            let guess = (&tensors["weight"] + &tensors["base"])?;
            Ok(Loss::sum(rows.broadcast_sub(&guess)?.sqr()?.sum_all()?, rows.dim(0)?)?)
        };
        let training = Training {
            config: TrainingConfig { epochs: 4, ..TrainingConfig::default() },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: Loader::new(Rows::new(numbers(8)), |rows: Vec<f32>, batch| {
                Ok(Tensor::new(rows, batch.device())?)
            })
            .batch(Batching::Rows(4)),
            eval: None,
        };
        fit(training, &loss, &mut job)
    };
    run_on(Job::for_test(temp.path()), 5.0, Some(3)).unwrap_err();
    let error = run_on(Job::for_test_resumed(temp.path()), 2.0, None).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Resume { .. })), "{error:?}");
    assert!(error.to_string().contains("\n  `frozen_digest`: \""), "{error}");
    assert_eq!(run_on(Job::for_test_resumed(temp.path()), 5.0, None).unwrap().steps, 8);
}
