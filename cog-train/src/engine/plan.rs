//! What is done when: pure functions of the step's number.

use serde_json::{Value, json};

use super::checkpoint::Keep;
use super::optim::Clip;
use super::schedule::Schedule;
use crate::error::Error;

/// How often something is done, beside the end of the run.
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

/// The numbers of a training, all with a default.
///
/// ```
/// use cog_train::engine::{Every, Plan, Schedule, Warmup};
///
/// let plan = Plan {
///     epochs: 3,
///     learning_rate: 2e-4,
///     schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
///     evaluate: Every::Epoch,
///     save: Every::Steps(500),
///     patience: Some(2),
///     ..Plan::default()
/// };
/// assert!(plan.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
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
    pub micro_batch: Option<usize>,
    /// How gradients are kept from being too large.
    pub clip: Clip,
    /// Keeps an exponential moving average of the weights with this decay, which is evaluated and returned in their place.
    pub ema: Option<f64>,
    /// When the held-out rows are measured; also before the first step.
    pub evaluate: Every,
    /// When a checkpoint is written; also when the run is stopped, when asked, and after the best evaluation.
    pub save: Every,
    /// Which checkpoints stay.
    pub keep: Keep,
    /// Stops after so many evaluations in a row without a lower loss (early stopping).
    pub patience: Option<u32>,
    /// What a lower loss is lower by, at least.
    pub min_improvement: f64,
    /// Returns the weights of the best evaluation in place of the last ones.
    pub restore_best: bool,
    /// Stops after so many steps in a row whose loss or gradient is not finite. Each of them is skipped.
    pub most_skips: u32,
    /// Refuses to go on when a parameter that is trained gets no gradient at the first update, or gradients of zero alone
    /// at the first six.
    pub audit: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            epochs: 1,
            max_steps: None,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            micro_batch: None,
            clip: Clip::default(),
            ema: None,
            evaluate: Every::Epoch,
            save: Every::Epoch,
            keep: Keep::default(),
            patience: None,
            min_improvement: 0.0,
            restore_best: false,
            most_skips: 5,
            audit: true,
        }
    }
}

impl Plan {
    /// Refuses numbers that cannot be meant.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`], with the field's name.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |reason: &str| Err(Error::InvalidConfig { reason: reason.to_owned() });
        let zero = |every| every == Every::Steps(0);
        if self.epochs == 0 {
            wrong("the plan's `epochs` is 0, and at least 1 is needed")
        } else if self.max_steps == Some(0) {
            wrong("the plan's `max_steps` is 0, and at least 1 is needed")
        } else if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            wrong(&format!(
                "the plan's `learning_rate` is {}, and 0 or more is needed",
                self.learning_rate
            ))
        } else if self.micro_batch == Some(0) {
            wrong("the plan's `micro_batch` is 0, and at least 1 row is needed")
        } else if zero(self.evaluate) || zero(self.save) {
            wrong("the plan does something every 0 steps\nhint: `Every::End` leaves it to the end")
        } else if self.ema.is_some_and(|decay| !(0.0..1.0).contains(&decay)) {
            wrong(&format!(
                "the plan's `ema` is {}, and a decay from 0 to below 1 is needed",
                self.ema.unwrap_or_default()
            ))
        } else if self.patience == Some(0) {
            wrong("the plan's `patience` is 0, and at least 1 evaluation is needed")
        } else if self.restore_best && !self.keep.best {
            wrong(
                "the plan's `restore_best` needs the best checkpoint, and its `keep` has `best: false`",
            )
        } else if self.most_skips == 0 {
            wrong("the plan's `most_skips` is 0, and at least 1 is needed")
        } else {
            Ok(())
        }
    }

    /// How many steps the run takes, when epoch `e` has `steps_in(e)` of them.
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

    /// What a resumed run must have in common with the run it goes on with: all but when checkpoints are written and
    /// which of them stay, for those change nothing of the result.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({
            "epochs": self.epochs,
            "max_steps": self.max_steps,
            "learning_rate": self.learning_rate,
            "schedule": self.schedule.describe(),
            "clip": self.clip,
            "ema": self.ema,
            "evaluate": self.evaluate.describe(),
            "patience": self.patience,
            "min_improvement": self.min_improvement,
            "restore_best": self.restore_best,
            "most_skips": self.most_skips,
            "audit": self.audit,
            "micro_batch": self.micro_batch,
        })
    }
}

impl Every {
    /// Whether it is time after `step` steps, of which the last ended an epoch or not. The start and the end are the
    /// caller's.
    #[must_use]
    pub fn is_due(self, step: u64, epoch_ended: bool) -> bool {
        match self {
            Self::End => false,
            Self::Steps(every) => step > 0 && step.is_multiple_of(every),
            Self::Epoch => step > 0 && epoch_ended,
        }
    }

    /// Whether it is done before a run of `steps` steps ends, whose first epoch has `epoch` of them.
    pub(super) fn comes_before_the_end(self, epoch: u64, steps: u64) -> bool {
        match self {
            Self::End => false,
            Self::Steps(every) => every < steps,
            Self::Epoch => epoch < steps,
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
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_over_epochs_of_any_length() {
        let plan = |epochs, max_steps| Plan { epochs, max_steps, ..Plan::default() };
        assert_eq!(plan(3, None).steps(|epoch| 10 + epoch), 33);
        for (most, steps) in [(1, 1), (10, 10), (11, 11), (32, 32), (33, 33), (34, 33)] {
            assert_eq!(plan(3, Some(most)).steps(|epoch| 10 + epoch), steps);
        }
        assert_eq!(plan(u64::MAX, Some(5)).steps(|_| 1), 5);
    }

    #[test]
    fn what_decides_the_result_is_described_and_nothing_else() {
        let plan = Plan::default();
        let same = |other: &Plan| other.describe() == plan.describe();
        for other in [
            Plan { epochs: 2, ..plan.clone() },
            Plan { max_steps: Some(3), ..plan.clone() },
            Plan { learning_rate: 0.5, ..plan.clone() },
            Plan { schedule: Schedule::cosine(), ..plan.clone() },
            Plan { micro_batch: Some(2), ..plan.clone() },
            Plan { clip: Clip::Value(1.0), ..plan.clone() },
            Plan { ema: Some(0.5), ..plan.clone() },
            Plan { evaluate: Every::End, ..plan.clone() },
            Plan { patience: Some(1), ..plan.clone() },
            Plan { min_improvement: 0.5, ..plan.clone() },
            Plan { restore_best: true, ..plan.clone() },
            Plan { most_skips: 6, ..plan.clone() },
            Plan { audit: false, ..plan.clone() },
        ] {
            assert!(!same(&other), "{other:?}");
        }
        assert!(same(&Plan { save: Every::Steps(3), ..plan.clone() }));
        assert!(same(&Plan { keep: Keep { last: 9, best: false }, ..plan.clone() }));
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
        let before_the_end = |every: Every, steps| every.comes_before_the_end(4, steps);
        assert!(!before_the_end(Every::End, 9));
        assert!(before_the_end(Every::Steps(3), 4) && !before_the_end(Every::Steps(3), 3));
        assert!(before_the_end(Every::Epoch, 5) && !before_the_end(Every::Epoch, 4));
    }

    #[test]
    fn numbers_that_cannot_be_meant_are_refused_by_name() {
        let plan = Plan::default();
        for (name, plan) in [
            ("epochs", Plan { epochs: 0, ..plan.clone() }),
            ("max_steps", Plan { max_steps: Some(0), ..plan.clone() }),
            ("learning_rate", Plan { learning_rate: f64::NAN, ..plan.clone() }),
            ("learning_rate", Plan { learning_rate: -1.0, ..plan.clone() }),
            ("micro_batch", Plan { micro_batch: Some(0), ..plan.clone() }),
            ("every 0 steps", Plan { save: Every::Steps(0), ..plan.clone() }),
            ("ema", Plan { ema: Some(1.0), ..plan.clone() }),
            ("patience", Plan { patience: Some(0), ..plan.clone() }),
            (
                "restore_best",
                Plan { restore_best: true, keep: Keep { last: 1, best: false }, ..plan.clone() },
            ),
            ("most_skips", Plan { most_skips: 0, ..plan.clone() }),
        ] {
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        plan.check().unwrap();
    }
}
