use super::*;

#[test]
fn steps_are_counted_over_epochs_of_any_length() {
    let config =
        |epochs, max_steps| TrainingConfig { epochs, max_steps, ..TrainingConfig::default() };
    assert_eq!(config(3, None).steps(|epoch| 10 + epoch), 33);
    for (most, steps) in [(1, 1), (10, 10), (11, 11), (32, 32), (33, 33), (34, 33)] {
        assert_eq!(config(3, Some(most)).steps(|epoch| 10 + epoch), steps);
    }
    assert_eq!(config(u64::MAX, Some(5)).steps(|_| 1), 5);
}

#[test]
fn what_decides_the_result_is_described_and_nothing_else() {
    let config = TrainingConfig::default();
    let same = |other: &TrainingConfig| other.describe() == config.describe();
    for other in [
        TrainingConfig { epochs: 2, ..config.clone() },
        TrainingConfig { max_steps: Some(3), ..config.clone() },
        TrainingConfig { learning_rate: 0.5, ..config.clone() },
        TrainingConfig { schedule: Schedule::cosine(), ..config.clone() },
        TrainingConfig { micro_batch: Some(2), ..config.clone() },
        TrainingConfig { reduce: Reduce::Fast, ..config.clone() },
        TrainingConfig { clip: Clip::Value(1.0), ..config.clone() },
        TrainingConfig { ema: Some(0.5), ..config.clone() },
        TrainingConfig { eval_every: Every::End, ..config.clone() },
        TrainingConfig { best_by: BestBy::highest("loss"), ..config.clone() },
        TrainingConfig { best_by: BestBy::lowest("mae"), ..config.clone() },
        TrainingConfig { patience: Some(1), ..config.clone() },
        TrainingConfig { min_improvement: 0.5, ..config.clone() },
        TrainingConfig { restore_best: true, ..config.clone() },
        TrainingConfig { max_skipped_steps: 6, ..config.clone() },
        TrainingConfig { check_gradients: false, ..config.clone() },
    ] {
        assert!(!same(&other), "{other:?}");
    }
    assert!(same(&TrainingConfig { save_every: Every::Steps(3), ..config.clone() }));
    assert!(same(&TrainingConfig {
        keep_checkpoints: Keep { last: 9, best: false },
        ..config.clone()
    }));
}

#[test]
fn what_is_due_is_due_after_a_step() {
    let due = |every: Every| -> Vec<u64> {
        (0..9).filter(|step| every.is_due(*step, step % 4 == 0)).collect()
    };
    assert!(due(Every::End).is_empty());
    assert_eq!(due(Every::Steps(3)), [3, 6]);
    assert_eq!(due(Every::Steps(1)), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(due(Every::Epoch), [4, 8]);
}

#[test]
fn a_setting_out_of_range_is_refused_by_name() {
    let config = TrainingConfig::default();
    for (name, config) in [
        ("epochs", TrainingConfig { epochs: 0, ..config.clone() }),
        ("max_steps", TrainingConfig { max_steps: Some(0), ..config.clone() }),
        ("learning_rate", TrainingConfig { learning_rate: f64::NAN, ..config.clone() }),
        ("learning_rate", TrainingConfig { learning_rate: -1.0, ..config.clone() }),
        ("micro_batch", TrainingConfig { micro_batch: Some(0), ..config.clone() }),
        ("save_every", TrainingConfig { save_every: Every::Steps(0), ..config.clone() }),
        ("eval_every", TrainingConfig { eval_every: Every::Steps(0), ..config.clone() }),
        ("min_improvement", TrainingConfig { min_improvement: -0.1, ..config.clone() }),
        ("min_improvement", TrainingConfig { min_improvement: f64::NAN, ..config.clone() }),
        ("Clip::Norm", TrainingConfig { clip: Clip::Norm(-1.0), ..config.clone() }),
        ("Clip::Value", TrainingConfig { clip: Clip::Value(f64::NAN), ..config.clone() }),
        ("schedule.end", {
            TrainingConfig { schedule: Schedule::Linear { end: f64::NAN }, ..config.clone() }
        }),
        ("keep_checkpoints.last", {
            TrainingConfig { keep_checkpoints: Keep { last: 0, best: true }, ..config.clone() }
        }),
        ("ema", TrainingConfig { ema: Some(f64::NAN), ..config.clone() }),
        ("ema", TrainingConfig { ema: Some(1.0), ..config.clone() }),
        ("patience", TrainingConfig { patience: Some(0), ..config.clone() }),
        (
            "restore_best",
            TrainingConfig {
                restore_best: true,
                keep_checkpoints: Keep { last: 1, best: false },
                ..config.clone()
            },
        ),
        ("max_skipped_steps", TrainingConfig { max_skipped_steps: 0, ..config.clone() }),
    ] {
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{name}` ")), "{error}");
    }
    config.check().unwrap();
    let two = TrainingConfig { epochs: 0, ema: Some(2.0), ..config };
    assert_eq!(two.check().unwrap_err().to_string().lines().count(), 2, "all at once");
}
