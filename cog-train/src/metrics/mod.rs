//! Metrics of evaluations, as counts and sums that add up over batches.
//!
//! | type | values | of |
//! |---|---|---|
//! | [`ConfusionMatrix`] | `accuracy`, `macro_precision`, `macro_recall`, `macro_f1`, `weighted_f1` | classifiers |
//! | [`TopK`] | `top_5_accuracy` | classifiers of many classes |
//! | [`Retrieval`] | `recall@1`, `recall@10`, `mrr` | embeddings |
//! | [`Regression`] | `mae`, `mse`, `r2` | numbers |
//!
//! [`EvalScores::with_metric`](crate::engine::EvalScores::with_metric) adds one up over an evaluation, and
//! [`EvalScores::with_perplexity`](crate::engine::EvalScores::with_perplexity) adds `perplexity`. A mean over rows, tokens or whatever has a
//! weight needs no type: [`EvalScores::with`](crate::engine::EvalScores::with).
//!
//! The values are scikit-learn's. A quotient of which nothing was counted (a class that was never predicted, one without rows) is 0, as with
//! its `zero_division=0`. Without any row at all, where scikit-learn refuses, means over rows are NaN and F1 is 0.

pub(crate) mod bits;
mod confusion;
mod regression;
mod retrieval;
mod scores;
mod top_k;

use serde::{Deserialize, Serialize};

pub use self::confusion::{ClassScores, ConfusionMatrix};
pub use self::regression::Regression;
pub use self::retrieval::Retrieval;
pub use self::top_k::TopK;

/// A metric of an evaluation, which has one or more values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Metric {
    /// Predictions by true and predicted class.
    Confusion(ConfusionMatrix),
    /// Rows whose class is among the best.
    TopK(TopK),
    /// Queries whose document is among the best.
    Retrieval(Retrieval),
    /// Errors of numbers.
    Regression(Regression),
}

impl Metric {
    /// Adds the counts of another batch, if `other` measures the same. Returns whether it does.
    pub(crate) fn add(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Confusion(all), Self::Confusion(more)) => return all.add(more).is_ok(),
            (Self::TopK(all), Self::TopK(more)) if all.k() == more.k() => all.add(more),
            (Self::Retrieval(all), Self::Retrieval(more)) if all.cutoffs().eq(more.cutoffs()) => {
                all.add(more);
            }
            (Self::Regression(all), Self::Regression(more)) => all.add(more),
            _ => return false,
        }
        true
    }

    /// Returns the values by name.
    pub(crate) fn values(&self) -> Vec<(String, f64)> {
        let named = |values: &[(&str, f64)]| {
            values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        match self {
            Self::Confusion(matrix) => {
                let (macro_, weighted) = (matrix.macro_average(), matrix.weighted_average());
                named(&[
                    ("accuracy", matrix.accuracy()),
                    ("macro_precision", macro_.precision),
                    ("macro_recall", macro_.recall),
                    ("macro_f1", macro_.f1),
                    ("weighted_f1", weighted.f1),
                ])
            }
            Self::TopK(top) => vec![(format!("top_{}_accuracy", top.k()), top.accuracy())],
            Self::Retrieval(found) => {
                let recall = |k| (format!("recall@{k}"), found.recall(k));
                let mrr = ("mrr".to_owned(), found.mean_reciprocal_rank());
                found.cutoffs().map(recall).chain([mrr]).collect()
            }
            Self::Regression(errors) => named(&[
                ("mae", errors.mean_absolute_error()),
                ("mse", errors.mean_squared_error()),
                ("r2", errors.r2()),
            ]),
        }
    }
}

impl From<ConfusionMatrix> for Metric {
    fn from(matrix: ConfusionMatrix) -> Self {
        Self::Confusion(matrix)
    }
}

impl From<TopK> for Metric {
    fn from(top: TopK) -> Self {
        Self::TopK(top)
    }
}

impl From<Retrieval> for Metric {
    fn from(found: Retrieval) -> Self {
        Self::Retrieval(found)
    }
}

impl From<Regression> for Metric {
    fn from(errors: Regression) -> Self {
        Self::Regression(errors)
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// A quotient that is 0 without a count.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}
