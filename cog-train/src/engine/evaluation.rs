//! Evaluations: the scores of batches of held-out rows, and the means over all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::loss::Loss;
use super::sums::Sums;
use crate::error::Error;
use crate::metrics::{ConfusionMatrix, Metric};
use crate::progress::{json_number, number_of};

/// The means over the held-out rows after some steps.
///
/// A mean that is not finite is there as such: NaN or an infinity.
///
/// The example of [`TrainingSummary`](super::TrainingSummary) reads one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The steps taken before it.
    pub step: u64,
    /// The mean loss.
    #[serde(serialize_with = "serialize_loss", deserialize_with = "deserialize_loss")]
    pub loss: f64,
    /// The other means and values, by the names that [`EvalScores::with`] and [metrics](crate::metrics) gave them.
    #[serde(serialize_with = "serialize_metrics", deserialize_with = "deserialize_metrics")]
    pub metrics: BTreeMap<String, f64>,
    /// The predictions by true and predicted class, if the evaluation has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<ConfusionMatrix>,
}

impl Evaluation {
    /// Returns a value by its name: `loss`, or that of a metric. A name may begin with `eval_`, as in `metrics.jsonl`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        let find = |name: &str| match name {
            "loss" => Some(self.loss),
            _ => self.metrics.get(name).copied(),
        };
        find(name).or_else(|| find(name.strip_prefix("eval_")?))
    }
}

/// Scores of held-out rows, each a sum and a weight.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::engine::{EvalScores, Loss};
///
/// let loss = Loss::sum(Tensor::new(12f32, &Device::Cpu)?, 4)?;
/// let scores = EvalScores::new(&loss)?.with("accuracy", 3.0, 4.0); // 3 of 4; batches add up before the quotient
/// # let _ = scores;
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// The example of [`Objective`](super::Objective) returns one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalScores {
    loss: Sums,
    others: BTreeMap<String, Sums>,
    metrics: Vec<Metric>,
    has_perplexity: bool,
}

impl EvalScores {
    /// Scores by the loss alone.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn new(loss: &Loss) -> Result<Self, Error> {
        let loss = Sums::of(loss)?;
        Ok(Self { loss, others: BTreeMap::new(), metrics: Vec::new(), has_perplexity: false })
    }

    /// Adds a score: a sum over `weight` rows or tokens, such as the number of correct answers among them. Scores of one
    /// name add up.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, sum: f64, weight: f64) -> Self {
        self.add_score(name.into(), Sums { sum, weight });
        self
    }

    /// Adds a metric, whose counts add up over batches: the [table of metrics](crate::metrics) has the names of its values. A
    /// confusion matrix is also logged at the end, and recorded as `confusion_matrix`.
    ///
    /// ```
    /// use cog_train::candle_core::Tensor;
    /// use cog_train::engine::{EvalScores, Loss};
    /// use cog_train::metrics::{ConfusionMatrix, TopK};
    /// use cog_train::nn::cross_entropy;
    ///
    /// /// Evaluates scores `[B, classes]` of rows with labels `[B]`.
    /// fn evaluate(scores: &Tensor, labels: &Tensor) -> cog_train::anyhow::Result<EvalScores> {
    ///     let loss = Loss::sum(cross_entropy(scores, labels)?, labels.dim(0)?)?;
    ///     Ok(EvalScores::new(&loss)?
    ///         .with_metric(ConfusionMatrix::of(scores, labels)?)
    ///         .with_metric(TopK::of(scores, labels, 5)?))
    /// }
    /// ```
    #[must_use]
    pub fn with_metric(mut self, metric: impl Into<Metric>) -> Self {
        self.add_metric(metric.into());
        self
    }

    /// Adds `perplexity`: the exponential of the mean loss, which is a cross-entropy by token.
    ///
    /// ```
    /// use cog_train::candle_core::{Device, Tensor};
    /// use cog_train::engine::{EvalScores, Loss};
    ///
    /// let loss = Loss::sum(Tensor::new(12f32, &Device::Cpu)?, 4)?;
    /// let scores = EvalScores::new(&loss)?.with_perplexity(); // e^3 = 20.1 after this batch alone
    /// # let _ = scores;
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn with_perplexity(mut self) -> Self {
        self.has_perplexity = true;
        self
    }

    fn add_metric(&mut self, metric: Metric) {
        if !self.metrics.iter_mut().any(|all| all.add(&metric)) {
            self.metrics.push(metric);
        }
    }

    /// Takes the counts of a confusion matrix out. They are whole numbers, which add up in any order.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when there are two of different numbers of classes.
    pub(super) fn take_confusion(&mut self) -> Result<Option<ConfusionMatrix>, Error> {
        let is_confusion = |metric: &mut Metric| matches!(metric, Metric::Confusion(_));
        self.metrics.extract_if(.., is_confusion).try_fold(None, |sum, metric| match metric {
            Metric::Confusion(matrix) => ConfusionMatrix::sum(sum, Some(matrix)),
            _ => Ok(sum),
        })
    }

    /// Adds the scores of another batch.
    pub(super) fn add(&mut self, other: Self) {
        self.loss.add(other.loss);
        for (name, score) in other.others {
            self.add_score(name, score);
        }
        for metric in other.metrics {
            self.add_metric(metric);
        }
        self.has_perplexity |= other.has_perplexity;
    }

    fn add_score(&mut self, name: String, score: Sums) {
        self.others.entry(name).or_default().add(score);
    }

    /// Returns the means.
    pub(super) fn evaluation(&self, step: u64) -> Evaluation {
        let means = self.others.iter().map(|(name, score)| (name.clone(), score.mean()));
        let mut metrics: BTreeMap<String, f64> = means.collect();
        metrics.extend(self.metrics.iter().flat_map(Metric::values));
        let loss = self.loss.mean();
        metrics.extend(self.has_perplexity.then(|| ("perplexity".to_owned(), loss.exp())));
        let confusion = self.metrics.iter().find_map(|metric| match metric {
            Metric::Confusion(matrix) => Some(matrix.clone()),
            _ => None,
        });
        Evaluation { step, loss, metrics, confusion }
    }
}

// JSON has no number for what is not finite.

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn serialize_loss<S: Serializer>(loss: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    json_number(*loss).serialize(serializer)
}

fn serialize_metrics<S: Serializer>(
    metrics: &BTreeMap<String, f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, value)| (name, json_number(*value))))
}

fn deserialize_loss<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    number_of(&value).ok_or_else(|| serde::de::Error::custom(format!("{value} is no number")))
}

fn deserialize_metrics<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let read = |(name, value): (String, Value)| {
        let number = number_of(&value)
            .ok_or_else(|| serde::de::Error::custom(format!("`{name}`: {value} is no number")))?;
        Ok((name, number))
    };
    values.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
