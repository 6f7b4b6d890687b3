//! The comparison of evaluations.

use serde::{Deserialize, Serialize};

use super::evaluation::Evaluation;
use crate::error::Error;
use crate::message::nearest;

/// The value by which evaluations are compared, and whether it is to be low or high.
///
/// ```
/// use cog_train::engine::{BestBy, TrainingConfig};
///
/// let config = TrainingConfig {
///     best_by: BestBy::highest("accuracy"),
///     restore_best: true,
///     patience: Some(3),
///     ..TrainingConfig::default() // best_by: BestBy::lowest("loss")
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BestBy {
    metric: String,
    goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Goal {
    Lowest,
    Highest,
}

impl Default for BestBy {
    fn default() -> Self {
        Self::lowest("loss")
    }
}

impl BestBy {
    /// The lowest value is the best: of `loss`, `perplexity`, `mae`.
    pub fn lowest(metric: impl Into<String>) -> Self {
        Self { metric: metric.into(), goal: Goal::Lowest }
    }

    /// The highest value is the best: of `accuracy`, `macro_f1`, `recall@1`.
    pub fn highest(metric: impl Into<String>) -> Self {
        Self { metric: metric.into(), goal: Goal::Highest }
    }

    /// The name of the value: `loss`, or one of the evaluation's metrics.
    #[must_use]
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// Whether the highest value is the best.
    #[must_use]
    pub fn is_highest(&self) -> bool {
        self.goal == Goal::Highest
    }

    /// Whether a value improves on another one by more than `least`. One that is not finite improves on nothing.
    pub(super) fn improves(&self, value: f64, on: Option<f64>, least: f64) -> bool {
        let better = |on: f64| match self.goal {
            Goal::Lowest => value < on - least,
            Goal::Highest => value > on + least,
        };
        value.is_finite() && on.is_none_or(better)
    }

    /// Returns the value of an evaluation.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the names that there are, when this one is not among them.
    pub(super) fn value(&self, evaluation: &Evaluation) -> Result<f64, Error> {
        evaluation.value(&self.metric).ok_or_else(|| {
            let names = evaluation.metrics.keys().map(String::as_str).chain(["loss"]);
            let known: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
            let hint = nearest(&self.metric, names).map_or_else(
                || "hint: `Objective::evaluate` adds values to the loss".to_owned(),
                |near| format!("hint: did you mean `{near}`?"),
            );
            Error::InvalidConfig {
                reason: format!(
                    "`best_by` is `{}`, and the evaluation has only {}\n{hint}",
                    self.metric,
                    known.join(", ")
                ),
            }
        })
    }
}
