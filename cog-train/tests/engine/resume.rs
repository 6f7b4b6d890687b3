//! A run that is stopped and resumed is the run that was not stopped, byte for byte.

use cog_train::prelude::*;
use cog_train::{Error, serde_json};

use super::job::{At, Left, STEPS, config, train};

fn straight(dir: &std::path::Path) -> Left {
    let fitted = train(&mut Job::for_test(dir), config(), At::Nothing).unwrap();
    assert_eq!(fitted.steps, STEPS, "the run is not stopped early, so that every step counts");
    let (first, last) = (fitted.initial_eval.unwrap().loss, fitted.final_eval.unwrap().loss);
    assert!(last < first, "it learns: {first} {last}");
    Left::of(dir)
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Cancelled))
}

use cog_train::anyhow;

#[test]
fn resume_equals_straight_run_at_every_step() {
    let temp = tempfile::tempdir().unwrap();
    let straight = straight(&temp.path().join("straight"));
    let mut tried = 0;
    for step in 0..STEPS {
        let dir = temp.path().join(format!("stopped-{step}"));
        let error = train(&mut Job::for_test(&dir), config(), At::Cancel(step)).unwrap_err();
        assert!(is_cancelled(&error), "step {step}: {error:?}");
        train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
        Left::of(&dir).assert_same(&straight, &format!("stopped at step {step}"));
        tried += 1;
    }
    assert_eq!(tried, 30);
}

/// A failure saves nothing: the run resumes from the last checkpoint before it, or from the start.
#[test]
fn resume_after_a_failure_equals_straight_run_at_every_step() {
    let temp = tempfile::tempdir().unwrap();
    let straight = straight(&temp.path().join("straight"));
    for step in 0..STEPS {
        let dir = temp.path().join(format!("failed-{step}"));
        let error = train(&mut Job::for_test(&dir), config(), At::Fail(step)).unwrap_err();
        assert_eq!(error.to_string(), "killed");
        train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
        Left::of(&dir).assert_same(&straight, &format!("failed at step {step}"));
    }
}

#[test]
fn resume_after_a_cancelled_evaluation_equals_straight_run() {
    let temp = tempfile::tempdir().unwrap();
    let straight = straight(&temp.path().join("straight"));
    // Before the first step and after each five: 7 evaluations of 21 rows, in batches of 8 that are cut into parts of 2.
    let parts = 7 * (4 + 4 + 3);
    let mut stopped = 0;
    for number in 0..parts {
        let dir = temp.path().join(format!("evaluation-{number}"));
        let mut job = Job::for_test(&dir);
        let token = job.cancel_token();
        match train(&mut job, config(), At::CancelEvaluation(number)) {
            Err(error) => assert!(is_cancelled(&error), "{number}: {error:?}"),
            // The cancellation comes with the last part: nothing is left to cancel.
            Ok(_) => assert_eq!(number + 1, parts, "a run that was cut short is no success"),
        }
        stopped += u64::from(token.is_cancelled());
        train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
        Left::of(&dir).assert_same(&straight, &format!("stopped in evaluation {number}"));
    }
    assert_eq!(stopped, parts, "each part was reached");
    // There is no part beyond.
    let mut job = Job::for_test(temp.path().join("beyond"));
    let token = job.cancel_token();
    train(&mut job, config(), At::CancelEvaluation(parts)).unwrap();
    assert!(!token.is_cancelled());
}

#[test]
fn resume_of_a_resumed_run_equals_straight_run() {
    let temp = tempfile::tempdir().unwrap();
    let straight = straight(&temp.path().join("straight"));
    let dir = temp.path().join("stopped");
    let mut job = Job::for_test(&dir);
    for step in 0..STEPS {
        let at = if step % 2 == 0 { At::Cancel(step) } else { At::Fail(step) };
        train(&mut job, config(), at).unwrap_err();
        job = Job::for_test_resumed(&dir);
    }
    train(&mut job, config(), At::Nothing).unwrap();
    Left::of(&dir).assert_same(&straight, "stopped at every step of one run");
    // A run that is over stays what it is.
    train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
    Left::of(&dir).assert_same(&straight, "resumed after its end");
}

#[test]
fn a_run_that_has_changed_is_refused_with_each_difference() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run");
    train(&mut Job::for_test(&dir), config(), At::Cancel(9)).unwrap_err();
    let other = TrainingConfig { learning_rate: 0.01, max_steps: Some(40), ..config() };
    let error = train(&mut Job::for_test_resumed(&dir), other, At::Nothing).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error.downcast_ref(), Some(Error::Resume { .. })), "{text}");
    assert!(text.contains("step 9"), "{text}");
    assert!(text.contains("`config.learning_rate`: 0.02 then, 0.01 now"), "{text}");
    assert!(text.contains("`config.max_steps`: 30 then, 40 now"), "{text}");
    assert!(text.contains("hint: `--resume=force`"), "{text}");
    // Nothing was changed: it still resumes.
    let fitted = train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
    assert_eq!(fitted.steps, STEPS);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let temp = tempfile::tempdir().unwrap();
    let straight = straight(&temp.path().join("straight"));
    let dir = temp.path().join("run");
    train(&mut Job::for_test(&dir), config(), At::Cancel(16)).unwrap_err();
    let file = dir.join("checkpoints/step-000016/weights.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
    Left::of(&dir).assert_same(&straight, "resumed over a damaged checkpoint");
}

#[test]
fn resumed_metrics_have_each_step_once() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run");
    train(&mut Job::for_test(&dir), config(), At::Cancel(11)).unwrap_err();
    train(&mut Job::for_test_resumed(&dir), config(), At::Nothing).unwrap();
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines
        .iter()
        .filter(|line| line.get("loss").is_some())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>());
}

use cog_train::engine::TrainingConfig;
