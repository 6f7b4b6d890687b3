use std::collections::BTreeMap;

use super::*;

fn evaluation(step: u64, loss: f64) -> Evaluation {
    serde_json::from_value(serde_json::json!({
        "step": step, "loss": crate::progress::json_number(loss), "metrics": BTreeMap::<String, f64>::new(),
    }))
    .unwrap()
}

/// Records these losses, one after each step from 0 on; which were best, and the step that it stopped at.
fn record(config: &TrainingConfig, losses: &[f64]) -> (State, Vec<u64>, Option<u64>) {
    let mut state = State::new(config, Precision::F32);
    let mut best = Vec::new();
    for (step, loss) in (0..).zip(losses) {
        state.step = step;
        let verdict = state.record_evaluation(config, evaluation(step, *loss), false).unwrap();
        if verdict.is_best {
            best.push(step);
        }
        if verdict.stops {
            return (state, best, Some(step));
        }
    }
    (state, best, None)
}

#[test]
fn the_lowest_loss_is_best_and_min_improvement_is_for_patience_alone() {
    let config =
        TrainingConfig { patience: Some(5), min_improvement: 0.5, ..TrainingConfig::default() };
    let (state, best, stopped) = record(&config, &[3.0, 2.0, 1.9, 1.8, 1.7, 1.6, 5.0]);
    assert_eq!(best, [0, 1, 2, 3, 4, 5]);
    assert_eq!(state.best.unwrap().loss.to_bits(), 1.6_f64.to_bits());
    assert_eq!(stopped, Some(6), "nothing is below 2.0 - 0.5 at 5 evaluations");
    let (state, ..) = record(&config, &[3.0, 2.0, 1.9, 1.4]);
    assert_eq!(state.without_improvement, 0, "1.4 is lower than 2.0 by more than 0.5");
}

#[test]
fn the_highest_value_is_best_and_min_improvement_is_for_patience_alone() {
    let config = TrainingConfig {
        best_by: BestBy::highest("eval_loss"),
        patience: Some(2),
        min_improvement: 0.5,
        ..TrainingConfig::default()
    };
    let losses = [1.0, f64::NAN, 2.0, 2.25, 2.5, 9.0];
    let (state, best, stopped) = record(&config, &losses);
    assert_eq!(best, [0, 2, 3, 4]);
    assert_eq!(stopped, Some(4), "nothing is above 2.0 + 0.5 at 2 evaluations");
    assert_eq!(state.best.unwrap().step, 4);
    assert!(record(&config, &[f64::INFINITY, f64::NEG_INFINITY]).0.best.is_none());
}

#[test]
fn a_value_that_no_evaluation_has_is_an_error_with_the_names_that_there_are() {
    let mut with_metric = evaluation(0, 1.0);
    with_metric.metrics.insert("accuracy".to_owned(), 0.5);
    for (name, hint) in [
        ("acuracy", "hint: did you mean `accuracy`?"),
        ("f1", "hint: `Objective::evaluate` adds values to the loss"),
    ] {
        let best_by = BestBy::highest(name);
        let config = TrainingConfig { best_by, ..TrainingConfig::default() };
        let mut state = State::new(&config, Precision::F32);
        let error = state.record_evaluation(&config, with_metric.clone(), false).unwrap_err();
        let expected = format!(
            "`best_by` is `{name}`, and the evaluation has only `accuracy`, `loss`\n{hint}"
        );
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn another_value_to_compare_by_forgets_the_best_of_the_old_one() {
    let config = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
    let (mut state, ..) = record(&config, &[1.0, 2.0]);
    state.adopt(&config, Precision::F32);
    assert!(state.best.is_some() && state.stopped.is_some());
    let other = TrainingConfig { best_by: BestBy::highest("loss"), ..config };
    state.adopt(&other, Precision::F32);
    assert!(state.best.is_none() && state.stopped.is_none());
    let verdict = state.record_evaluation(&other, evaluation(2, 1.5), false).unwrap();
    assert!(verdict.is_best && !verdict.stops);
}

#[test]
fn patience_counts_from_the_first_update_on() {
    let config = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
    for first in [f64::NAN, f64::INFINITY, 9.0] {
        let (state, best, stopped) = record(&config, &[first, 2.0, 1.0]);
        assert_eq!(stopped, None, "{first}");
        assert_eq!(best.last(), Some(&2));
        assert_eq!(state.initial_eval.unwrap().loss.to_bits(), first.to_bits());
    }
    assert_eq!(record(&config, &[3.0, f64::NAN]).2, Some(1));
    // An evaluation after steps that changed nothing counts no more than the first.
    let mut state = State::new(&config, Precision::F32);
    state.record_evaluation(&config, evaluation(0, 2.0), false).unwrap();
    (state.step, state.skipped_steps) = (3, 3);
    assert!(!state.record_evaluation(&config, evaluation(3, 2.0), false).unwrap().stops);
    state.step = 4;
    assert!(state.record_evaluation(&config, evaluation(4, 2.0), false).unwrap().stops);
}

#[test]
fn the_last_evaluation_of_a_completed_run_stops_nothing() {
    let config = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
    let mut state = State::new(&config, Precision::F32);
    state.record_evaluation(&config, evaluation(0, 2.0), false).unwrap();
    state.step = 1;
    assert!(!state.record_evaluation(&config, evaluation(1, 3.0), true).unwrap().stops);
    assert_eq!(state.stopped, None);
}

#[test]
fn a_changed_config_decides_anew() {
    let config = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
    let (mut state, ..) = record(&config, &[2.0, f64::NAN]);
    assert_eq!(state.stopped, Some(StopReason::EarlyStopping));
    assert!(state.without_gradient.is_some() && !state.scale.is_dynamic());
    let patient = TrainingConfig { patience: Some(2), check_gradients: false, ..config };
    state.adopt(&patient, Precision::F16);
    assert!(state.stopped.is_none() && state.without_gradient.is_none());
    assert!(state.scale.is_dynamic());
    // What is scaled already keeps its scale.
    assert!(state.scale.after(false));
    let halved = state.scale;
    state.adopt(&patient, Precision::F16);
    assert_eq!(state.scale, halved);
}

#[test]
fn json_keeps_every_bit_of_the_state() {
    let config = TrainingConfig::default();
    let (mut state, ..) = record(&config, &[1.0 / 3.0, 0.1 + 0.2]);
    state.epoch.add(0.1 + 0.2, 3.0);
    state.scale = Scale::new(Precision::F16);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}
