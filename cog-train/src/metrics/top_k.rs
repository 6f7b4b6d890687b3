//! Whether the class of a row is among the best.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::float;
use super::scores::scored;
use crate::error::Error;

/// The rows whose class is among the `k` highest scores (top-k accuracy; scikit-learn's `top_k_accuracy_score`).
///
/// Of classes with equal scores the first comes first, as in [`ConfusionMatrix`](super::ConfusionMatrix), so that top-1 accuracy is
/// accuracy. Scores that are NaN come last.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::metrics::TopK;
///
/// let scores = Tensor::new(&[[0.1f32, 0.5, 0.4], [0.6, 0.3, 0.1]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2u32, 2], &Device::Cpu)?;
/// assert_eq!(TopK::of(&scores, &labels, 1)?.accuracy(), 0.0);
/// assert_eq!(TopK::of(&scores, &labels, 2)?.accuracy(), 0.5);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopK {
    k: usize,
    hits: u64,
    rows: u64,
}

impl TopK {
    /// Counts the rows of a batch: `scores` are `[B, classes]` of floats, `labels` `[B]` of integers, the class of each row.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the shapes do not fit, a label is no class, or the device fails.
    pub fn of(scores: &Tensor, labels: &Tensor, k: usize) -> Result<Self, Error> {
        let mut hits = 0;
        let (rows, labels) = scored(scores, labels, "label")?;
        for (row, label) in rows.iter().zip(&labels) {
            let own = row[*label];
            let is_ahead = |(at, other): (usize, &f64)| {
                // No number is behind every number, and a tie is decided by the class.
                match other.partial_cmp(&own) {
                    Some(order) => order.is_gt() || (order.is_eq() && at < *label),
                    None if own.is_nan() => !other.is_nan() || at < *label,
                    None => false,
                }
            };
            let found = row.iter().enumerate().filter(|it| is_ahead(*it)).count() < k;
            hits += u64::from(found);
        }
        Ok(Self { k, hits, rows: rows.len() as u64 })
    }

    /// Adds the counts of another batch.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.rows += other.rows;
    }

    /// The number of scores that are looked at.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Returns the share of rows; NaN without rows.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        float(self.hits) / float(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::metrics::ConfusionMatrix;
    use crate::metrics::scores::example;

    /// ```python
    /// # pip install scikit-learn
    /// from sklearn.metrics import top_k_accuracy_score
    /// scores = [[.1, .5, .3, .1], [.4, .3, .2, .1], [.1, .2, .3, .4], [.25, .3, .35, .1], [.1, .7, .15, .05]]
    /// for k in (1, 2, 3): print(top_k_accuracy_score([2, 0, 1, 3, 1], scores, k=k, labels=range(4)))
    /// ```
    #[test]
    fn shares_equal_those_of_scikit_learn_and_add_up_over_batches() {
        let of = |range: std::ops::Range<usize>, k| {
            let (scores, labels) = example(range);
            TopK::of(&scores, &labels, k).unwrap()
        };
        for (k, expected) in [(1, 0.4), (2, 0.6), (3, 0.8), (4, 1.0), (9, 1.0)] {
            let mut all = of(0..2, k);
            all.add(&of(2..5, k));
            assert_eq!(all, of(0..5, k));
            assert!((all.accuracy() - expected).abs() < 1e-12, "{k}");
        }
    }

    #[test]
    fn top_1_accuracy_is_accuracy_also_of_equal_scores_and_nan() {
        let nan = f32::NAN;
        let rows = [[1f32, 1.0, 0.0], [nan, 1.0, 1.0], [nan, nan, nan], [0.0, nan, -1.0]];
        let scores = Tensor::new(&rows, &Device::Cpu).unwrap();
        for label in 0..3u32 {
            let labels = Tensor::full(label, 4, &Device::Cpu).unwrap();
            let accuracy = ConfusionMatrix::of(&scores, &labels).unwrap().accuracy();
            let top = TopK::of(&scores, &labels, 1).unwrap().accuracy();
            assert!((top - accuracy).abs() < 1e-12, "label {label}: {top} is not {accuracy}");
        }
    }

    #[test]
    fn without_rows_the_share_is_nan() {
        let none = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
        let labels = Tensor::zeros(0, DType::U32, &Device::Cpu).unwrap();
        assert!(TopK::of(&none, &labels, 2).unwrap().accuracy().is_nan());
    }
}
