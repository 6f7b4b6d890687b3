//! The settings of a training, and when something is due: pure functions of the step's number.

use serde_json::{Value, json};

use super::best_by::BestBy;
use crate::checkpoint::Keep;
use crate::error::Error;
use crate::optim::schedule::Schedule;
use crate::optim::{Clip, Limits, Range};
use crate::parallel::Reduce;

/// The interval of something that is done during a run; the end of the run is due in any case.
///
/// ```
/// use cog_train::engine::Every;
///
/// assert!(Every::Steps(500).is_due(1000, false) && !Every::Steps(500).is_due(1001, false));
/// assert!(Every::Epoch.is_due(37, true) && !Every::Epoch.is_due(37, false));
/// assert!(!Every::End.is_due(1000, true)); // the end of the run is due whatever is chosen
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Every {
    /// Only at the end.
    #[default]
    End,
    /// After so many steps.
    Steps(u64),
    /// After each pass over the data.
    Epoch,
}

/// The settings of a training, all with a default.
///
/// ```
/// use cog_train::engine::{Every, TrainingConfig, Schedule, Warmup};
///
/// let config = TrainingConfig {
///     epochs: 3,
///     learning_rate: 2e-4,
///     schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
///     eval_every: Every::Epoch,
///     save_every: Every::Steps(500),
///     patience: Some(2),
///     ..TrainingConfig::default()
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// Passes over the data.
    pub epochs: u64,
    /// The most steps, where that is less than `epochs` take.
    pub max_steps: Option<u64>,
    /// The peak learning rate: how far a step goes, in units of the weights for each unit of the gradient (SGD), or for
    /// each step (Adam and its like). No decay or schedule is in it.
    pub learning_rate: f64,
    /// The share of it at each step, from 0 to 1.
    pub schedule: Schedule,
    /// The most rows in a forward pass. A batch of more rows is computed in parts whose gradients add up (gradient
    /// accumulation). `None`: the whole batch. Either way it becomes smaller when the device runs out of memory.
    ///
    /// Ranks that train together share the micro-batches of a batch, so that there must be enough of them.
    pub micro_batch: Option<usize>,
    /// The order in which ranks add up their gradients.
    pub reduce: Reduce,
    /// The limit on gradients.
    pub clip: Clip,
    /// Keeps an exponential moving average of the weights with this decay, which is evaluated and returned instead of them.
    /// Its warm-up keeps at most the share `(1 + t) / (10 + t)` at update `t`, so that the first weights do not dominate a
    /// short run: see [`Ema::warmup`](crate::optim::Ema::warmup).
    pub ema: Option<f64>,
    /// When the held-out rows are evaluated; also before the first step and at the end.
    pub eval_every: Every,
    /// When a checkpoint is written; also when the run is cancelled, on request, and after the best evaluation.
    pub save_every: Every,
    /// Which checkpoints stay.
    pub keep_checkpoints: Keep,
    /// The value of the held-out rows by which an evaluation is the best, and by which `patience` counts: the lowest loss, unless
    /// another one is named. A value that is not finite is never the best. A name that no evaluation has is an error of the first one.
    pub best_by: BestBy,
    /// Stops after so many evaluations in a row without an improvement of `best_by` (early stopping). The evaluation before
    /// the first update does not count.
    pub patience: Option<u32>,
    /// An improvement, for `patience`, is a value of `best_by` that is better by more than this. It has no part in which evaluation
    /// is the best.
    pub min_improvement: f64,
    /// Returns the weights of the best evaluation in place of the last ones.
    pub restore_best: bool,
    /// Fails after so many steps in a row whose loss or gradient is not finite. Each of them is skipped.
    pub max_skipped_steps: u32,
    /// Fails when a parameter that is trained gets no gradient at the first update, or gradients of zero alone at the
    /// first six.
    pub check_gradients: bool,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            max_steps: None,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            micro_batch: None,
            reduce: Reduce::default(),
            clip: Clip::default(),
            ema: None,
            eval_every: Every::Epoch,
            save_every: Every::Epoch,
            keep_checkpoints: Keep::default(),
            best_by: BestBy::default(),
            patience: None,
            min_improvement: 0.0,
            restore_best: false,
            max_skipped_steps: 5,
            check_gradients: true,
        }
    }
}

impl TrainingConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the name and the value of each setting that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        limits.at_least("epochs", self.epochs, 1);
        limits.at_least("max_steps", self.max_steps.unwrap_or(1), 1);
        limits.number("learning_rate", self.learning_rate, Range::NotNegative);
        limits.include(self.schedule.check());
        limits.at_least("micro_batch", self.micro_batch.unwrap_or(1) as u64, 1);
        limits.include(self.clip.check());
        limits.number("ema", self.ema.unwrap_or(0.0), Range::Decay);
        for (name, every) in [("eval_every", self.eval_every), ("save_every", self.save_every)] {
            limits.require(every != Every::Steps(0), || {
                format!("`{name}` is 0 steps, expected 1 or more\nhint: `Every::End` is for the end alone")
            });
        }
        limits.at_least("keep_checkpoints.last", self.keep_checkpoints.last as u64, 1);
        limits.at_least("patience", self.patience.unwrap_or(1).into(), 1);
        limits.number("min_improvement", self.min_improvement, Range::NotNegative);
        limits.require(!self.restore_best || self.keep_checkpoints.best, || {
            "`restore_best` needs the best checkpoint, and `keep_checkpoints` has `best: false`"
                .to_owned()
        });
        limits.at_least("max_skipped_steps", self.max_skipped_steps.into(), 1);
        limits.finish()
    }

    /// Returns the number of steps of a run whose epoch `e` has `steps_in(e)` of them.
    #[must_use]
    pub fn steps(&self, steps_in: impl Fn(u64) -> u64) -> u64 {
        let most = self.max_steps.unwrap_or(u64::MAX);
        let mut steps = 0_u64;
        for epoch in 0..self.epochs {
            steps = steps.saturating_add(steps_in(epoch));
            if steps >= most {
                return most;
            }
        }
        steps
    }

    /// Returns the settings that a resumed run must share with its checkpoint: all but when checkpoints are written and which of
    /// them stay, which change nothing of the result.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({
            "epochs": self.epochs,
            "max_steps": self.max_steps,
            "learning_rate": self.learning_rate,
            "schedule": self.schedule.describe(),
            "clip": self.clip,
            "ema": self.ema,
            "eval_every": self.eval_every.describe(),
            "best_by": self.best_by,
            "patience": self.patience,
            "min_improvement": self.min_improvement,
            "restore_best": self.restore_best,
            "max_skipped_steps": self.max_skipped_steps,
            "check_gradients": self.check_gradients,
            "micro_batch": self.micro_batch,
            "reduce": self.reduce,
        })
    }
}

impl Every {
    /// Whether it is due after `step` steps, of which the last ended an epoch or not. The start and the end are the
    /// caller's.
    #[must_use]
    pub fn is_due(self, step: u64, epoch_ended: bool) -> bool {
        match self {
            Self::End => false,
            Self::Steps(every) => step > 0 && step.is_multiple_of(every),
            Self::Epoch => step > 0 && epoch_ended,
        }
    }

    fn describe(self) -> Value {
        match self {
            Self::End => json!("end"),
            Self::Steps(every) => json!(every),
            Self::Epoch => json!("epoch"),
        }
    }
}

#[cfg(test)]
mod tests;
