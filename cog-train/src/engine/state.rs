//! All of a training that changes and is no tensor. What a checkpoint holds of it is the whole of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::scale::Scale;
use super::training_config::TrainingConfig;
use crate::data::Position;
use crate::params::Precision;

/// Where a training is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken, those that were skipped included.
    pub(super) step: u64,
    /// Steps that changed the weights.
    pub(super) updates: u64,
    /// The next batch.
    pub(super) position: Position,
    /// The most rows in a forward pass, as it has come to be.
    pub(super) micro: Option<usize>,
    pub(super) scale: Scale,
    /// Steps skipped in a row.
    pub(super) skips: u32,
    /// Parameters whose gradients were zero so far; `None` once all have been seen.
    pub(super) silent: Option<Vec<String>>,
    /// The loss over the present epoch.
    pub(super) epoch: Mean,
    pub(super) evaluated_at: Option<u64>,
    pub(super) before: BTreeMap<String, f64>,
    pub(super) after: BTreeMap<String, f64>,
    pub(super) best: Option<Best>,
    /// Evaluations in a row without a lower loss.
    pub(super) stale: u32,
    pub(super) stopped_early: bool,
}

/// The evaluation with the lowest loss.
///
/// [`TrainingSummary`](super::TrainingSummary) tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After so many steps.
    pub step: u64,
    /// The loss on the held-out rows.
    pub loss: f64,
}

/// A mean by sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    pub(super) fn add(&mut self, sum: f64, weight: f64) {
        self.sum += sum;
        self.weight += weight;
    }

    /// `None` before anything was added.
    pub(super) fn value(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

impl State {
    pub(super) fn new(config: &TrainingConfig, precision: Precision) -> Self {
        Self {
            step: 0,
            updates: 0,
            position: Position::default(),
            micro: config.micro_batch,
            scale: Scale::new(precision),
            skips: 0,
            silent: config.check_gradients.then(Vec::new),
            epoch: Mean::default(),
            evaluated_at: None,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            best: None,
            stale: 0,
            stopped_early: false,
        }
    }

    /// Goes on under a config or a precision that has changed: what was decided by the old one is decided anew.
    pub(super) fn adopt(&mut self, config: &TrainingConfig, precision: Precision) {
        let fresh = Self::new(config, precision);
        if self.scale.is_dynamic() != fresh.scale.is_dynamic() {
            self.scale = fresh.scale;
        }
        if !config.check_gradients {
            self.silent = None;
        }
        self.stopped_early = self.is_stale(config);
    }

    fn is_stale(&self, config: &TrainingConfig) -> bool {
        config.patience.is_some_and(|patience| self.stale >= patience)
    }

    /// Takes note of an evaluation. Whether it is the best so far.
    pub(super) fn evaluated(
        &mut self,
        config: &TrainingConfig,
        mut scores: BTreeMap<String, f64>,
    ) -> bool {
        let loss = scores.get("loss").copied().unwrap_or(f64::NAN);
        // JSON has no number for what is not finite.
        scores.retain(|_, score| score.is_finite());
        if self.step == 0 {
            self.before.clone_from(&scores);
        }
        self.after = scores;
        self.evaluated_at = Some(self.step);
        // A loss that is not a number is no improvement.
        let lower = loss.is_finite()
            && self.best.is_none_or(|best| loss < best.loss - config.min_improvement);
        if lower {
            self.best = Some(Best { step: self.step, loss });
            self.stale = 0;
        } else {
            self.stale += 1;
        }
        self.stopped_early = self.is_stale(config);
        lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_evaluation_is_kept_and_patience_ends() {
        let config =
            TrainingConfig { patience: Some(2), min_improvement: 0.1, ..TrainingConfig::default() };
        let mut state = State::new(&config, Precision::F32);
        let mut seen = Vec::new();
        for (step, loss) in [(0, 3.0), (1, 2.0), (2, 1.95), (3, 1.8), (4, f64::NAN), (5, 1.75)] {
            state.step = step;
            let best = state.evaluated(&config, BTreeMap::from([("loss".to_owned(), loss)]));
            seen.push((best, state.stopped_early));
        }
        assert_eq!(
            seen,
            [
                (true, false),
                (true, false),
                (false, false),
                (true, false),
                (false, false),
                (false, true)
            ]
        );
        assert_eq!(state.best, Some(Best { step: 3, loss: 1.8 }));
        assert_eq!((state.before["loss"], state.after["loss"]), (3.0, 1.75));
    }

    #[test]
    fn a_changed_plan_decides_anew() {
        let config = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
        let mut state = State::new(&config, Precision::F32);
        state.evaluated(&config, BTreeMap::from([("loss".to_owned(), f64::NAN)]));
        assert!(state.stopped_early && state.silent.is_some() && !state.scale.is_dynamic());
        let patient = TrainingConfig { patience: Some(2), check_gradients: false, ..config };
        state.adopt(&patient, Precision::F16);
        assert!(!state.stopped_early && state.silent.is_none() && state.scale.is_dynamic());
        // What is scaled already keeps its scale.
        assert!(state.scale.after(false));
        let halved = state.scale;
        state.adopt(&patient, Precision::F16);
        assert_eq!(state.scale, halved);
    }

    #[test]
    fn it_comes_back_from_json_with_every_bit() {
        let mut state = State::new(&TrainingConfig::default(), Precision::F16);
        state.epoch.add(0.1 + 0.2, 3.0);
        state.evaluated(
            &TrainingConfig::default(),
            BTreeMap::from([("loss".to_owned(), 1.0 / 3.0)]),
        );
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
