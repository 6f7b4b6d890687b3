//! The result of a training is the same on any number of ranks, byte for byte.

mod overlap;
mod refused;
mod rows;
mod run;

use std::path::Path;
use std::sync::Arc;

use cog_train::Error;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    Every, Loss, Params, Precision, Reduce, StepContext, StopReason, Training, TrainingConfig,
    TrainingSummary, fit,
};
use cog_train::optim::{Adafactor, AdamW, Clip, Lion, Muon, Optimizer, Sgd};
use cog_train::prelude::*;

use self::run::{At, MakeOptimizer, Run, STEPS, adamw};
use super::job::Left;
use super::threads::{Threads, on_ranks};

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
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines = reports[0].lines().map(words);
        lines.skip_while(|line| !line.starts_with("memory")).collect::<Vec<_>>().join("\n")
    };
    let (one, four) = (report(1), report(4));
    assert!(one.starts_with("memory: about ") && one.contains("\noptimizer 16.0 MiB"), "{one}");
    assert!(four.starts_with("memory of each of 4 ranks: about "), "{four}");
    assert!(four.contains("\noptimizer 4.0 MiB"), "{four}");
    // A checkpoint has the state of all.
    assert!(four.contains("\ncheckpoint 24.0 MiB"), "{four}");
}
