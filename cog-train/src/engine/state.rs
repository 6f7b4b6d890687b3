//! The state of a training beside its tensors. A checkpoint holds all of it.

use serde::{Deserialize, Serialize};

use super::best_by::BestBy;
use super::evaluation::Evaluation;
use super::scale::Scale;
use super::training_config::TrainingConfig;
use crate::data::Position;
use crate::error::Error;
use crate::params::Precision;

/// The progress of a training and what was decided on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken, skipped ones included.
    pub(super) step: u64,
    /// Steps that did not change the weights.
    pub(super) skipped_steps: u64,
    /// Updates by the optimizer since its state began.
    pub(super) updates: u64,
    /// Updates of the moving average since it began.
    pub(super) averaged: u64,
    /// The next batch.
    pub(super) position: Position,
    /// The most rows in a forward pass; smaller than the config's after a lack of memory.
    pub(super) micro_batch: Option<usize>,
    pub(super) scale: Scale,
    /// Steps in a row whose loss or gradient was not finite.
    pub(super) skipped_in_a_row: u32,
    /// Parameters whose gradients have been zero so far; `None` once every parameter had another one.
    pub(super) without_gradient: Option<Vec<String>>,
    /// The loss over the present epoch.
    pub(super) epoch: Mean,
    pub(super) initial_eval: Option<Evaluation>,
    pub(super) last_eval: Option<Evaluation>,
    /// The value that evaluations were compared by.
    pub(super) best_by: BestBy,
    pub(super) best: Option<Evaluation>,
    /// The value that an evaluation must improve on for patience to begin anew.
    pub(super) patience_from: Option<f64>,
    /// Evaluations in a row without such an improvement.
    pub(super) without_improvement: u32,
    /// Why the training ended before its last step.
    pub(super) stopped: Option<StopReason>,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// All its steps were taken.
    Completed,
    /// The evaluations no longer improved: [`TrainingConfig::patience`].
    EarlyStopping,
    /// [`Objective::on_step`](super::Objective::on_step) returned `Break`.
    Hook,
    /// Nothing was trained: a dry run.
    DryRun,
}

/// The decisions that follow from an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It is the best so far.
    pub(super) is_best: bool,
    /// The training ends by it.
    pub(super) stops: bool,
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
            skipped_steps: 0,
            updates: 0,
            averaged: 0,
            position: Position::default(),
            micro_batch: config.micro_batch,
            scale: Scale::new(precision),
            skipped_in_a_row: 0,
            without_gradient: config.check_gradients.then(Vec::new),
            epoch: Mean::default(),
            initial_eval: None,
            last_eval: None,
            best_by: config.best_by.clone(),
            best: None,
            patience_from: None,
            without_improvement: 0,
            stopped: None,
        }
    }

    /// Continues under a config or a precision that has changed: what followed from the old one is decided anew.
    pub(super) fn adopt(&mut self, config: &TrainingConfig, precision: Precision) {
        let fresh = Self::new(config, precision);
        if self.scale.is_dynamic() != fresh.scale.is_dynamic() {
            self.scale = fresh.scale;
        }
        if !config.check_gradients {
            self.without_gradient = None;
        }
        if self.best_by != config.best_by {
            (self.best, self.patience_from, self.without_improvement) = (None, None, 0);
            self.best_by = fresh.best_by;
        }
        self.stopped = self.is_out_of_patience(config).then_some(StopReason::EarlyStopping);
    }

    /// The step of the last evaluation.
    pub(super) fn evaluated_at(&self) -> Option<u64> {
        self.last_eval.as_ref().map(|eval| eval.step)
    }

    /// Whether no step changed the weights, of those that were taken.
    pub(super) fn skipped_every_step(&self) -> bool {
        self.step > 0 && self.skipped_steps == self.step
    }

    /// Records an evaluation. Early stopping ends a training that would otherwise have another step.
    ///
    /// Patience counts evaluations that do not improve on the value that it counts from by more than the config's
    /// `min_improvement`, and only after the weights have changed: before that none can be worse.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the evaluation has no value of the config's `best_by`.
    pub(super) fn record_evaluation(
        &mut self,
        config: &TrainingConfig,
        evaluation: Evaluation,
        is_last: bool,
    ) -> Result<Verdict, Error> {
        let best_by = &config.best_by;
        let value = best_by.value(&evaluation)?;
        let best = self.best.as_ref().map(|best| best_by.value(best)).transpose()?;
        let is_best = best_by.improves(value, best, 0.0);
        if best_by.improves(value, self.patience_from, config.min_improvement) {
            self.patience_from = Some(value);
            self.without_improvement = 0;
        } else if self.step > self.skipped_steps {
            self.without_improvement += 1;
        }
        if is_best {
            self.best = Some(evaluation.clone());
        }
        if self.step == 0 {
            self.initial_eval = Some(evaluation.clone());
        }
        self.last_eval = Some(evaluation);
        let stops = !is_last && self.is_out_of_patience(config);
        if stops {
            self.stopped = Some(StopReason::EarlyStopping);
        }
        Ok(Verdict { is_best, stops })
    }

    fn is_out_of_patience(&self, config: &TrainingConfig) -> bool {
        config.patience.is_some_and(|patience| self.without_improvement >= patience)
    }
}

#[cfg(test)]
mod tests;
