//! A dry run reports what a training would take, and trains nothing.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use cog_train::candle_core::Tensor;
use cog_train::checkpoint::Keep;
use cog_train::data::{Batching, Dataset, Loader, Rows};
use cog_train::engine::{
    Every, Loss, Params, StepContext, StopReason, Training, TrainingConfig, fit,
};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::{Error, anyhow};

use super::job::{self, Batch, loader, params, rows};
use super::laws::numbers;

/// The network of [`job`] without a surprise in it, slow enough for a time of its own.
fn loss(params: &Params) -> impl Fn(&Batch, &StepContext) -> Result<Loss> {
    let tensors = params.tensors();
    move |batch, _| {
        std::thread::sleep(Duration::from_millis(3));
        let inner = batch.x.matmul(&tensors["in.weight"].t()?)?;
        let inner = inner.broadcast_add(&tensors["in.bias"])?.tanh()?;
        let y = inner.matmul(&tensors["out.weight"].t()?)?.broadcast_add(&tensors["out.bias"])?;
        let errors = (y.squeeze(1)? - &batch.y)?.sqr()?;
        Ok(Loss::sum((errors * &batch.weight)?.sum_all()?, batch.count)?)
    }
}

/// The report of a dry run in `dir`, which must be new.
fn reported(
    dir: &Path,
    config: TrainingConfig,
    train: Loader<Batch>,
    params: &Params,
    loss: impl Fn(&Batch, &StepContext) -> Result<Loss>,
) -> anyhow::Result<Vec<String>> {
    let training =
        Training { config, params, optimizer: Optimizer::new(AdamW::default()), train, eval: None };
    let mut job = Job::for_test_planned(dir, dir);
    let summary = fit(training, &loss, &mut job)?;
    assert!(job.is_dry_run());
    assert_eq!((summary.stop_reason, summary.steps), (StopReason::DryRun, 0));
    assert_eq!((&summary.initial_eval, &summary.final_eval, &summary.best), (&None, &None, &None));
    // The author's code runs to its end, and none of its lines and numbers are about a training.
    job.line("trained");
    job.metric("accuracy", 1, 0.5);
    job.progress(1, 1);
    assert!(!job.cancelled());
    let names: Vec<_> = std::fs::read_dir(dir)?.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "checkpoints"), "{names:?}");
    assert_eq!(std::fs::read_to_string(dir.join("metrics.jsonl"))?, "");
    Ok(std::fs::read_to_string(dir.join("log.txt"))?.lines().map(str::to_owned).collect())
}

fn config() -> TrainingConfig {
    TrainingConfig { epochs: 3, learning_rate: 0.5, ema: Some(0.9), ..TrainingConfig::default() }
}

/// The number before a word.
fn number(line: &str, before: &str) -> f64 {
    let head = line.split(before).next().unwrap();
    head.rsplit(|c: char| c.is_whitespace() || c == '(')
        .find(|word| !word.is_empty())
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_dry_run_reports_data_parameters_memory_disk_and_time_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let params = params().freeze("out.bias").unwrap();
    let train = loader(rows(19), Batching::Rows(6));
    let lines = reported(dir.path(), config(), train, &params, loss(&params)).unwrap();
    assert_eq!(lines[0], "data: 19 rows; 12 steps of 6 rows, in 3 epochs");
    assert_eq!(lines[1], "  the lengths of rows are not known");
    // 6 inputs, 10 within, 1 output: 60 + 10 + 10 + 1 numbers, of which the last is frozen.
    assert_eq!(lines[2], "parameters: 81, of which 80 are trained (98.765 %), computed in f32");
    assert!(
        lines[3].starts_with("memory: about ") && lines[3].ends_with(" at most"),
        "{}",
        lines[3]
    );
    // 4 bytes a number: 81 weights, two moments of 80, 80 averages, 80 gradients; a checkpoint has all but gradients,
    // and no frozen weights. A bar is a share of the peak, which the program is nearly all of.
    for (line, row) in lines[4..].iter().zip([
        "weights        324 B  ░░░░░░░░░░░░░░░░",
        "gradients      320 B  ░░░░░░░░░░░░░░░░",
        "optimizer      640 B  ░░░░░░░░░░░░░░░░",
        "averages       320 B  ░░░░░░░░░░░░░░░░",
        "activations ",
        "checkpoint   1.2 KiB  ░░░░░░░░░░░░░░░░",
        "other  ",
    ]) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(words(line).starts_with(&words(row)), "{line} is not {row}");
    }
    let lines = &lines[6..];
    // Two that stay, the best, and one that is being written.
    assert!(
        lines[5].starts_with(
            "disk: 1.2 KiB for a checkpoint, 5.0 KiB for all of them, up to 324 B for the weights at the end and as much \
             for the output; "
        ),
        "{}",
        lines[5]
    );
    assert!(lines[6].starts_with("time: ") && lines[6].ends_with(" for all, evaluations aside"));
    assert!(lines[6].contains(" s for a step, so about "), "no length is known: {}", lines[6]);
    let seconds = number(&lines[6], " s for a step");
    assert!((0.003..1.0).contains(&seconds), "{}", lines[6]);
    assert_eq!(lines.len(), 7);
    assert_eq!(numbers(&params), numbers(&job::params()));
}

#[test]
fn known_lengths_of_rows_and_the_number_of_truncated_rows_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let with = |truncated: Option<usize>| {
        let rows = Rows::new(rows(19)).with_tokens(|row| 10 * row.2).unwrap();
        let train = Loader::new(rows, |rows, batch| job::collate(&rows, batch.device()))
            .batch(Batching::tokens(60));
        let train = match truncated {
            Some(truncated) => train.truncated(truncated),
            None => train,
        };
        let dir = dir.path().join(format!("{truncated:?}"));
        reported(
            &dir,
            TrainingConfig { max_steps: Some(4), ..config() },
            train,
            &params,
            loss(&params),
        )
        .unwrap()
    };
    let lines = with(Some(5));
    assert_eq!(lines[0], "data: 19 rows; 4 steps of up to 60 tokens, the config's `max_steps`");
    assert_eq!(lines[1], "  tokens of a row, and how many rows have so many:");
    let counts: f64 = lines[2..9].iter().map(|line| number(line, "\n")).sum();
    assert_eq!(counts, 19.0, "{lines:#?}");
    assert_eq!(lines[9], "  5 of 19 rows are truncated to the most that fits");
    let time = lines.last().unwrap();
    assert!(time.contains(" s for a step of the longest rows, so at most about "), "{time}");
    assert!(with(Some(0)).contains(&"  no row is truncated".to_owned()));
    assert!(!with(None).iter().any(|line| line.contains("truncated")));
}

/// The batch is that with the most of rows times their greatest length, not the first one.
#[test]
fn a_dry_run_measures_the_heaviest_batch() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let rows = Rows::new(rows(40)).with_tokens(|row| if row.0[0] > 1.5 { 90 } else { 3 }).unwrap();
    let longest: Vec<u32> = (0..40).filter(|row| rows.tokens(*row as usize) == 90).collect();
    assert!(!longest.is_empty() && longest.len() < 10);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let made = std::sync::Arc::clone(&seen);
    let train = Loader::new(rows, move |rows, batch| {
        made.lock().unwrap().push(batch.rows().to_vec());
        job::collate(&rows, batch.device())
    })
    .batch(Batching::Rows(4))
    .threads(0); // so that what is made is what is computed
    reported(dir.path(), config(), train, &params, loss(&params)).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "two steps, and no batch ahead");
    assert!(seen.iter().all(|batch| batch.iter().any(|row| longest.contains(row))), "{seen:?}");
}

#[test]
fn a_dry_run_short_of_memory_retries_with_smaller_micro_batches() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    // The first pass, the first of the second step, the second of the second step.
    for failing in [0, 1, 2] {
        let passes = Cell::new(0);
        let usual = loss(&params);
        let short = |batch: &Batch, context: &StepContext| {
            let number = passes.replace(passes.get() + 1);
            // From the second failing pass on all is well.
            anyhow::ensure!(number != failing, "CublasError(CUBLAS_STATUS_ALLOC_FAILED)");
            usual(batch, context)
        };
        let train = loader(rows(19), Batching::Rows(6));
        let dir = dir.path().join(failing.to_string());
        let micro = if failing == 2 { Some(3) } else { None };
        let config = TrainingConfig { micro_batch: micro, ..config() };
        let lines = reported(&dir, config, train, &params, short).unwrap();
        let first = if failing == 2 {
            "with 3 rows at once: retrying with 2"
        } else {
            "with 6 rows at once: retrying with 3"
        };
        assert!(lines.iter().any(|line| line.contains(first)), "{lines:#?}");
        // Two parts of three rows, or three of two: each takes 3 ms.
        let least = if failing == 2 { 0.009 } else { 0.006 };
        let seconds = number(lines.last().unwrap(), " s for a step");
        assert!(seconds >= least, "{failing}: {lines:#?}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let many = TrainingConfig { keep_checkpoints: Keep { last: 1 << 50, best: true }, ..config() };
    let train = loader(rows(19), Batching::Rows(6));
    let error = reported(dir.path(), many, train, &params, loss(&params)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error.downcast_ref(), Some(Error::DiskSpace { .. })), "{text}");
    assert!(
        text.starts_with("the run needs ") && text.contains(" left\nhint: keep fewer"),
        "{text}"
    );
    assert!(text.contains(&format!("on the disk of `{}`", dir.path().display())), "{text}");
}

/// The gradient check looks at the gradients of the dry run.
#[test]
fn a_dry_run_refuses_what_the_first_step_would_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let cut = |batch: &Batch, _: &StepContext| -> Result<Loss> {
        let zeros = Tensor::zeros_like(&batch.y)?;
        Ok(Loss::sum(zeros.sum_all()?, batch.count)?)
    };
    let config = TrainingConfig { eval_every: Every::End, ..config() };
    let train = loader(rows(19), Batching::Rows(6));
    let error = reported(dir.path(), config, train, &params, cut).unwrap_err().to_string();
    assert!(error.contains("4 of 4 trained parameters get no gradient"), "{error}");
}
