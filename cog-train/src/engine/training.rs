//! The input and the result of [`fit`](super::fit()).

use super::evaluation::Evaluation;
use super::state::{State, StopReason};
use super::training_config::TrainingConfig;
use crate::data::Loader;
use crate::optim::Optimizer;
use crate::params::Params;

/// The parts of a training, beside the loss.
///
/// The example of [`fit`](super::fit()) has one.
pub struct Training<'a, B> {
    /// The settings.
    pub config: TrainingConfig,
    /// The tensors, which the loss depends on by [`Params::tensors`].
    pub params: &'a Params,
    /// Updates the tensors.
    pub optimizer: Optimizer,
    /// The rows to learn from.
    pub train: Loader<B>,
    /// The held-out rows to evaluate on.
    pub eval: Option<Loader<B>>,
}

/// The results of a training. The weights are in the [`Params`] that were given.
///
/// ```
/// use cog_train::engine::{Objective, Training, TrainingSummary, fit};
/// use cog_train::prelude::*;
///
/// /// Trains and logs the losses.
/// fn train(training: Training<'_, Vec<f32>>, objective: &impl Objective<Vec<f32>>, job: &mut Job) -> Result<()> {
///     let summary: TrainingSummary = fit(training, objective, job)?;
///     job.line(format_args!("{} steps, training loss {:.3}", summary.steps, summary.loss));
///     if let (Some(initial), Some(last)) = (&summary.initial_eval, &summary.final_eval) {
///         job.line(format_args!("held-out loss {:.3} to {:.3}", initial.loss, last.loss));
///     }
///     if let Some(best) = &summary.best {
///         job.line(format_args!("best after {} steps: {:.3}, {:?}", best.step, best.loss, best.metrics));
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainingSummary {
    /// Steps taken, skipped ones included. In a dry run those of the run that would be resumed.
    pub steps: u64,
    /// Steps that did not change the weights; `log.txt` gives the reason of each.
    pub skipped_steps: u64,
    /// The mean loss over the last epoch, or over the part of it that was trained; NaN if no step had a finite loss.
    pub loss: f64,
    /// The evaluation before the first step. `None` without held-out rows and in a dry run.
    pub initial_eval: Option<Evaluation>,
    /// The evaluation of the weights that are returned: the last one, or the best one with
    /// [`restore_best`](TrainingConfig::restore_best). `None` without held-out rows and in a dry run.
    pub final_eval: Option<Evaluation>,
    /// The best evaluation by the config's [`best_by`](TrainingConfig::best_by). `None` if none had a finite value.
    pub best: Option<Evaluation>,
    /// Why the training ended.
    pub stop_reason: StopReason,
}

impl TrainingSummary {
    pub(super) fn of(state: State) -> Self {
        Self {
            steps: state.step,
            skipped_steps: state.skipped_steps,
            loss: state.epoch.value().unwrap_or(f64::NAN),
            initial_eval: state.initial_eval,
            final_eval: state.last_eval,
            best: state.best,
            stop_reason: state.stopped.unwrap_or(StopReason::Completed),
        }
    }

    pub(super) fn of_dry_run(steps: u64) -> Self {
        Self {
            steps,
            skipped_steps: 0,
            loss: f64::NAN,
            initial_eval: None,
            final_eval: None,
            best: None,
            stop_reason: StopReason::DryRun,
        }
    }
}
