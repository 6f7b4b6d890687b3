//! Evaluations: the scores of batches of held-out rows, and the means over all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::loss::Loss;
use crate::error::Error;
use crate::metrics::{ConfusionMatrix, Metric, bits};
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
    loss: Score,
    others: BTreeMap<String, Score>,
    metrics: Vec<Metric>,
    has_perplexity: bool,
}

/// A sum over so many rows or tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Score {
    #[serde(with = "bits")]
    sum: f64,
    #[serde(with = "bits")]
    weight: f64,
}

impl Score {
    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    fn mean(self) -> f64 {
        self.sum / self.weight
    }
}

impl EvalScores {
    /// Scores by the loss alone.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn new(loss: &Loss) -> Result<Self, Error> {
        let loss = Score { sum: loss.value()?, weight: loss.weight() };
        Ok(Self { loss, others: BTreeMap::new(), metrics: Vec::new(), has_perplexity: false })
    }

    /// Adds a score: a sum over `weight` rows or tokens, such as the number of correct answers among them. Scores of one
    /// name add up.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, sum: f64, weight: f64) -> Self {
        self.add_score(name.into(), Score { sum, weight });
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
    pub(super) fn take_confusion(&mut self) -> Option<ConfusionMatrix> {
        let is_confusion = |metric: &Metric| matches!(metric, Metric::Confusion(_));
        match self.metrics.remove(self.metrics.iter().position(is_confusion)?) {
            Metric::Confusion(matrix) => Some(matrix),
            _ => None,
        }
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

    fn add_score(&mut self, name: String, score: Score) {
        self.others.entry(name).or_insert(Score { sum: 0.0, weight: 0.0 }).add(score);
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
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::metrics::{Regression, Retrieval, TopK};

    fn scores(sum: f32, weight: usize) -> EvalScores {
        EvalScores::new(&Loss::sum(Tensor::new(sum, &Device::Cpu).unwrap(), weight).unwrap())
            .unwrap()
    }

    #[test]
    fn the_mean_of_batches_is_the_quotient_of_their_sums() {
        let class = format!("accuracy_{}", "owl"); // a name from the data
        let mut all = scores(6.0, 3).with(class.as_str(), 1.0, 3.0);
        all.add(scores(2.0, 1).with(class, 1.0, 1.0).with("rare", 1.0, 2.0));
        let found = all.evaluation(7);
        assert_eq!((found.step, found.loss), (7, 2.0));
        let metrics =
            [("accuracy_owl", 0.5), ("rare", 0.5)].map(|(name, it)| (name.to_owned(), it));
        assert_eq!(found.metrics, BTreeMap::from(metrics));
    }

    /// The F1 of all rows is not the mean of those of the batches.
    #[test]
    fn f1_is_computed_from_the_counts_of_all_batches() {
        let batch = |found: &[u32], labels: &[u32]| {
            let one_hot =
                |class: &u32| (0..2).map(|at| f32::from(u8::from(at == *class))).collect();
            let logits: Vec<Vec<f32>> = found.iter().map(one_hot).collect();
            let logits = Tensor::new(logits, &Device::Cpu).unwrap();
            let labels = Tensor::new(labels, &Device::Cpu).unwrap();
            scores(1.0, 1).with_metric(ConfusionMatrix::of(&logits, &labels).unwrap())
        };
        let mut all = batch(&[0, 0, 1], &[0, 0, 0]);
        all.add(batch(&[1], &[1]));
        let metrics = all.evaluation(1).metrics;
        let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["accuracy", "macro_f1", "macro_precision", "macro_recall", "weighted_f1"]
        );
        // Of class 0: precision 1, recall 2/3; of class 1: precision 1/2, recall 1.
        assert!((metrics["accuracy"] - 0.75).abs() < 1e-12);
        assert!((metrics["macro_f1"] - f64::midpoint(0.8, 2.0 / 3.0)).abs() < 1e-12);
        assert!((metrics["weighted_f1"] - (0.8 * 3.0 + 2.0 / 3.0) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn an_evaluation_that_is_not_finite_survives_json() {
        let found = scores(f32::NAN, 2).with("low", f64::NEG_INFINITY, 1.0).evaluation(3);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(text, r#"{"step":3,"loss":"NaN","metrics":{"low":"-Infinity"}}"#);
        let read: Evaluation = serde_json::from_str(&text).unwrap();
        assert!(read.loss.is_nan() && read.metrics["low"] == f64::NEG_INFINITY);
    }
    /// Scores go from rank to rank as JSON, which has neither NaN nor infinities.
    #[test]
    fn scores_of_batches_keep_every_bit_in_json() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let logits = Tensor::new(&[[0.1f32, 0.7], [0.4, 0.3]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[1u32, 1], &Device::Cpu).unwrap();
        let batch = || {
            scores(f32::INFINITY, 3)
                .with("third", 1.0 / 3.0, 0.1)
                .with_perplexity()
                .with_metric(TopK::of(&logits, &labels, 1).unwrap())
                .with_metric(ConfusionMatrix::of(&logits, &labels).unwrap().with_labels(["a", "b"]))
                .with_metric(Retrieval::of(&logits, &labels, &[1, 2]).unwrap())
                .with_metric(Regression::of(&tensor(&[0.1, 0.7]), &tensor(&[1.0, 0.2])).unwrap())
        };
        let text = serde_json::to_string(&batch()).unwrap();
        let mut read: EvalScores = serde_json::from_str(&text).unwrap();
        assert_eq!(read, batch());
        read.add(batch());
        let (one, two) = (batch().evaluation(1), read.evaluation(1));
        assert_eq!(one.metrics, two.metrics, "twice the same batch has the same means");
        assert_eq!(one.confusion.unwrap().count(1, 0), 1);
        assert_eq!(two.confusion.unwrap().count(1, 0), 2);
        assert!(one.metrics["perplexity"].is_infinite());
        let names: Vec<&str> = one.metrics.keys().map(String::as_str).collect();
        for name in ["mae", "mse", "r2", "mrr", "recall@1", "recall@2", "top_1_accuracy", "third"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }

    #[test]
    fn values_are_found_by_the_names_of_the_evaluation_and_of_its_records() {
        let found = scores(6.0, 3).with("accuracy", 1.0, 2.0).evaluation(1);
        for name in ["loss", "eval_loss"] {
            assert_eq!(found.value(name), Some(2.0));
        }
        assert_eq!(found.value("eval_accuracy"), Some(0.5));
        assert_eq!(found.value("f1"), None);
    }
}
