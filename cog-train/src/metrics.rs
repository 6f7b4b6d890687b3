//! Metrics of classifiers and of retrieval, as counts that add up over batches.
//!
//! [`ConfusionMatrix`] has the counts behind accuracy, precision, recall and F1, which are no means over batches;
//! [`EvalScores::with_confusion`](crate::engine::EvalScores::with_confusion) adds them up over an evaluation. [`retrieval_hits`] is a
//! count for [`EvalScores::with`](crate::engine::EvalScores::with), whose mean is recall at k.

use candle_core::{DType, Error as TensorError, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The predictions of a classifier, counted by the true class and the predicted one.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::metrics::ConfusionMatrix;
///
/// let scores = Tensor::new(&[[2f32, 1.0], [0.0, 1.0], [3.0, 1.0]], &Device::Cpu)?;
/// let mut matrix = ConfusionMatrix::of(&scores, &Tensor::new(&[0u32, 1, 1], &Device::Cpu)?)?;
/// assert_eq!(matrix.accuracy(), 2.0 / 3.0);
/// assert_eq!((matrix.class(1).precision, matrix.class(1).recall), (1.0, 0.5));
///
/// let scores = Tensor::new(&[[0f32, 1.0]], &Device::Cpu)?;
/// matrix.add(&ConfusionMatrix::of(&scores, &Tensor::new(&[1u32], &Device::Cpu)?)?);
/// assert_eq!(matrix.accuracy(), 3.0 / 4.0);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// `counts[truth][prediction]`.
    counts: Vec<Vec<u64>>,
}

/// The scores of one class, or means over classes. A quotient without a count is 0, as in scikit-learn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct ClassScores {
    /// Of the rows for which the class was predicted, the share of which it is.
    pub precision: f64,
    /// Of the rows of the class, the share for which it was predicted.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
}

impl ConfusionMatrix {
    /// Counts the predictions of a batch: of the scores `[B, classes]` of floats the highest of each row. `labels` are `[B]` of
    /// integers, the class of each row.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the shapes do not fit, a label is no class, or the device fails.
    pub fn of(scores: &Tensor, labels: &Tensor) -> Result<Self, Error> {
        let (rows, classes) = scores.dims2()?;
        let labels: Vec<i64> = labels.to_dtype(DType::I64)?.to_vec1()?;
        if labels.len() != rows {
            let count = labels.len();
            return Err(
                TensorError::Msg(format!("{rows} rows of scores and {count} labels")).into()
            );
        }
        let mut counts = vec![vec![0; classes]; classes];
        for (row, label) in scores.to_dtype(DType::F64)?.to_vec2::<f64>()?.iter().zip(labels) {
            let truth = usize::try_from(label).ok().and_then(|label| counts.get_mut(label));
            let counts = truth.ok_or_else(|| {
                TensorError::Msg(format!("the label {label} is not below {classes}"))
            })?;
            // What is no number is below each number.
            let highest = |best: usize, at: usize| {
                if row[best].is_nan() || row[at] > row[best] { at } else { best }
            };
            counts[(0..classes).fold(0, highest)] += 1;
        }
        Ok(Self { counts })
    }

    /// Adds the counts of another batch of the same classes.
    pub fn add(&mut self, other: &Self) {
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    /// The number of rows of class `truth` for which `prediction` was predicted; 0 for what is no class.
    #[must_use]
    pub fn count(&self, truth: usize, prediction: usize) -> u64 {
        self.counts.get(truth).and_then(|counts| counts.get(prediction)).copied().unwrap_or(0)
    }

    /// Returns the share of rows whose class was predicted; NaN without rows.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.counts.len()).map(|class| self.count(class, class)).sum();
        let rows: u64 = (0..self.counts.len()).map(|class| self.rows(class)).sum();
        float(right) / float(rows)
    }

    /// Returns the scores of one class.
    #[must_use]
    pub fn class(&self, class: usize) -> ClassScores {
        let (right, rows, predicted) =
            (self.count(class, class), self.rows(class), self.predicted(class));
        ClassScores {
            precision: share(right, predicted),
            recall: share(right, rows),
            f1: share(2 * right, rows + predicted),
        }
    }

    /// Returns the mean over the classes that a row has or that were predicted (scikit-learn's `average="macro"`).
    #[must_use]
    pub fn macro_average(&self) -> ClassScores {
        self.mean(|class| float(u64::from(self.rows(class) + self.predicted(class) > 0)))
    }

    /// Returns the mean over the classes, each by its number of rows (scikit-learn's `average="weighted"`).
    #[must_use]
    pub fn weighted_average(&self) -> ClassScores {
        self.mean(|class| float(self.rows(class)))
    }

    fn rows(&self, class: usize) -> u64 {
        self.counts.get(class).map_or(0, |counts| counts.iter().sum())
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.counts.len()).map(|truth| self.count(truth, class)).sum()
    }

    fn mean(&self, weight: impl Fn(usize) -> f64) -> ClassScores {
        let total: f64 = (0..self.counts.len()).map(&weight).sum();
        (0..self.counts.len()).fold(ClassScores::default(), |sum, class| {
            let (scores, weight) = (self.class(class), weight(class) / total);
            ClassScores {
                precision: sum.precision + weight * scores.precision,
                recall: sum.recall + weight * scores.recall,
                f1: sum.f1 + weight * scores.f1,
            }
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

/// Counts the queries whose document is among the `k` best: recall at k, times the number of queries.
///
/// `scores` are `[queries, documents]` of floats, higher for documents that fit better: a product of embeddings, or
/// [`cosine_similarity`](crate::models::cosine_similarity). `relevant` are `[queries]` of integers, the document of each query. A
/// document that scores the same as another one is behind it: a model that embeds all texts alike finds nothing.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::metrics::retrieval_hits;
///
/// let scores = Tensor::new(&[[0.9f32, 0.1, 0.2], [0.3, 0.2, 0.1]], &Device::Cpu)?;
/// let relevant = Tensor::new(&[0u32, 1], &Device::Cpu)?;
/// assert_eq!(retrieval_hits(&scores, &relevant, 1)?, 1);
/// assert_eq!(retrieval_hits(&scores, &relevant, 2)?, 2);
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Tensor`] when the shapes do not fit, a document is not there, or the device fails.
pub fn retrieval_hits(scores: &Tensor, relevant: &Tensor, k: usize) -> Result<usize, Error> {
    let (queries, documents) = scores.dims2()?;
    let relevant: Vec<i64> = relevant.to_dtype(DType::I64)?.to_vec1()?;
    if relevant.len() != queries {
        let count = relevant.len();
        return Err(
            TensorError::Msg(format!("{queries} queries and {count} documents of theirs")).into()
        );
    }
    let mut hits = 0;
    for (row, own) in scores.to_dtype(DType::F64)?.to_vec2::<f64>()?.iter().zip(relevant) {
        let score = usize::try_from(own).ok().and_then(|own| row.get(own)).ok_or_else(|| {
            TensorError::Msg(format!("the document {own} is not below {documents}"))
        })?;
        // Nothing is behind what is no number, and the document is not behind itself.
        let behind = row.iter().filter(|other| *other < score).count();
        hits += usize::from(documents - behind <= k);
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const TRUTH: [u32; 10] = [0, 0, 0, 0, 1, 1, 1, 2, 2, 4];
    const FOUND: [u32; 10] = [0, 0, 1, 4, 1, 1, 0, 0, 1, 4];

    fn matrix(rows: std::ops::Range<usize>) -> ConfusionMatrix {
        let one_hot = |class: &u32| (0..5).map(|at| f32::from(u8::from(at == *class))).collect();
        let scores: Vec<Vec<f32>> = FOUND[rows.clone()].iter().map(one_hot).collect();
        let scores = Tensor::new(scores, &Device::Cpu).unwrap();
        ConfusionMatrix::of(&scores, &Tensor::new(&TRUTH[rows], &Device::Cpu).unwrap()).unwrap()
    }

    fn assert_scores(found: ClassScores, expected: [f64; 3]) {
        let found = [found.precision, found.recall, found.f1];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-8, "{found} is not {expected}");
        }
    }

    /// A class that is never predicted, one that is never right, and one that is not there at all.
    ///
    /// ```python
    /// # pip install scikit-learn
    /// from sklearn.metrics import accuracy_score, precision_recall_fscore_support as scores
    /// truth, found = [0, 0, 0, 0, 1, 1, 1, 2, 2, 4], [0, 0, 1, 4, 1, 1, 0, 0, 1, 4]
    /// print(accuracy_score(truth, found))
    /// for average in (None, "macro", "weighted"):
    ///     print(scores(truth, found, average=average, zero_division=0))
    /// ```
    #[test]
    fn scores_equal_those_of_scikit_learn_and_add_up_over_batches() {
        let mut all = matrix(0..3);
        all.add(&matrix(3..4));
        all.add(&matrix(4..10));
        assert_eq!(all, matrix(0..10));
        assert_eq!((all.accuracy(), all.count(0, 4), all.count(7, 0)), (0.5, 1, 0));
        for (class, expected) in [
            (0, [0.5, 0.5, 0.5]),
            (1, [0.5, 0.666_666_666_7, 0.571_428_571_4]),
            (2, [0.0; 3]),
            (3, [0.0; 3]),
            (4, [0.5, 1.0, 0.666_666_666_7]),
        ] {
            assert_scores(all.class(class), expected);
        }
        assert_scores(all.macro_average(), [0.375, 0.541_666_666_7, 0.434_523_809_5]);
        assert_scores(all.weighted_average(), [0.4, 0.5, 0.438_095_238_1]);
    }

    #[test]
    fn labels_and_documents_that_are_not_there_are_errors() {
        let scores = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
        for (labels, of_matrix, of_hits) in [
            (&[2i64][..], "the label 2 is not below 2", "the document 2 is not below 2"),
            (&[-1], "the label -1 is not below 2", "the document -1 is not below 2"),
            (&[0, 1], "1 rows of scores and 2 labels", "1 queries and 2 documents of theirs"),
        ] {
            let labels = Tensor::new(labels, &Device::Cpu).unwrap();
            let error = ConfusionMatrix::of(&scores, &labels).unwrap_err().to_string();
            assert!(error.contains(of_matrix), "{error}");
            let error = retrieval_hits(&scores, &labels, 1).unwrap_err().to_string();
            assert!(error.contains(of_hits), "{error}");
        }
    }

    /// Neither equal scores nor those that are no numbers are found.
    #[test]
    fn equal_scores_and_nan_are_no_hits() {
        for value in [0.5, f32::NAN] {
            let scores = Tensor::full(value, (3, 3), &Device::Cpu).unwrap();
            let own = Tensor::new(&[0u32, 1, 2], &Device::Cpu).unwrap();
            assert_eq!(retrieval_hits(&scores, &own, 2).unwrap(), 0);
        }
    }
}
