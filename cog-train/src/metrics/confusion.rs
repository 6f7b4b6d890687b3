//! The predictions of a classifier by true and predicted class.

use std::fmt;

use candle_core::{Error as TensorError, Tensor};
use serde::{Deserialize, Serialize};

use super::scores::scored;
use super::{float, share};
use crate::error::Error;
use crate::table::{Align, Table};

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
/// matrix.add(&ConfusionMatrix::of(&scores, &Tensor::new(&[1u32], &Device::Cpu)?)?)?;
/// assert_eq!(matrix.accuracy(), 3.0 / 4.0);
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// It prints as a table of counts with the precision of each class below and its recall at the right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// The names of the classes; empty where they have none.
    labels: Vec<String>,
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
        let classes = scores.dims2()?.1;
        let mut counts = vec![vec![0; classes]; classes];
        let (rows, labels) = scored(scores, labels, "label")?;
        for (row, truth) in rows.iter().zip(labels) {
            // What is no number is below each number.
            let highest = |best: usize, at: usize| {
                let is_first_number = row[best].is_nan() && !row[at].is_nan();
                if is_first_number || row[at] > row[best] { at } else { best }
            };
            counts[truth][(0..classes).fold(0, highest)] += 1;
        }
        Ok(Self { labels: Vec::new(), counts })
    }

    /// Names the classes, by number, for whoever reads the table.
    #[must_use]
    pub fn with_labels<N: ToString>(mut self, labels: impl IntoIterator<Item = N>) -> Self {
        self.labels = labels.into_iter().map(|label| label.to_string()).collect();
        self
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// Returns the name of a class; its number if it has none.
    #[must_use]
    pub fn label(&self, class: usize) -> String {
        self.labels.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// Adds the counts of another batch of the same classes.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the other has more classes or fewer.
    pub fn add(&mut self, other: &Self) -> Result<(), Error> {
        let (classes, others) = (self.classes(), other.classes());
        if classes != others {
            let reason = format!(
                "a confusion matrix of {classes} classes and one of {others} do not add up\n\
                 hint: score every batch over the same classes"
            );
            return Err(TensorError::Msg(reason).into());
        }
        if self.labels.is_empty() {
            self.labels.clone_from(&other.labels);
        }
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
        Ok(())
    }

    /// Returns the sum of two, either of which may be missing.
    ///
    /// # Errors
    ///
    /// That of [`add`](Self::add).
    pub(crate) fn sum(one: Option<Self>, other: Option<Self>) -> Result<Option<Self>, Error> {
        match (one, other) {
            (Some(mut sum), Some(other)) => {
                sum.add(&other)?;
                Ok(Some(sum))
            }
            (one, other) => Ok(one.or(other)),
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
        let (right, rows) = self.right_and_rows();
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

    /// Returns the scores over all rows, whatever their class (scikit-learn's `average="micro"`): each is the accuracy, and 0 without rows.
    #[must_use]
    pub fn micro_average(&self) -> ClassScores {
        let (right, rows) = self.right_and_rows();
        let share = share(right, rows);
        ClassScores { precision: share, recall: share, f1: share }
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

    /// The rows whose class was predicted, and all rows.
    fn right_and_rows(&self) -> (u64, u64) {
        let right = (0..self.classes()).map(|class| self.count(class, class)).sum();
        (right, (0..self.classes()).map(|class| self.rows(class)).sum())
    }

    fn rows(&self, class: usize) -> u64 {
        self.counts.get(class).map_or(0, |counts| counts.iter().sum())
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.counts.len()).map(|truth| self.count(truth, class)).sum()
    }

    fn mean(&self, weight: impl Fn(usize) -> f64) -> ClassScores {
        let total: f64 = (0..self.counts.len()).map(&weight).sum();
        if total == 0.0 {
            return ClassScores::default();
        }
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

impl ConfusionMatrix {
    /// Returns the counts with the precision of each class below and its recall at the right.
    pub(crate) fn table(&self) -> Table {
        let names: Vec<String> = (0..self.classes()).map(|class| self.label(class)).collect();
        let heads = names.iter().map(|name| (name.as_str(), Align::Right));
        let first = std::iter::once(("", Align::Left));
        let mut table = Table::new(first.chain(heads).chain([("recall", Align::Right)]));
        for (class, (name, counts)) in names.iter().zip(&self.counts).enumerate() {
            let recall = format!("{:.3}", self.class(class).recall);
            let counts = counts.iter().map(u64::to_string);
            table.row(
                std::iter::once(name.clone()).chain(counts).chain([recall]).collect::<Vec<_>>(),
            );
        }
        let precisions =
            (0..self.classes()).map(|class| format!("{:.3}", self.class(class).precision));
        let first = std::iter::once("precision".to_owned());
        table.row(first.chain(precisions).chain([String::new()]).collect::<Vec<_>>());
        table
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table().lines(None).join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    const TRUTH: [u32; 10] = [0, 0, 0, 0, 1, 1, 1, 2, 2, 4];
    const FOUND: [u32; 10] = [0, 0, 1, 4, 1, 1, 0, 0, 1, 4];

    fn matrix(rows: std::ops::Range<usize>) -> ConfusionMatrix {
        let one_hot = |class: &u32| (0..5).map(|at| f32::from(u8::from(at == *class))).collect();
        let scores: Vec<Vec<f32>> = FOUND[rows.clone()].iter().map(one_hot).collect();
        let scores = match scores.as_slice() {
            [] => Tensor::zeros((0, 5), DType::F32, &Device::Cpu).unwrap(),
            scores => Tensor::new(scores.to_vec(), &Device::Cpu).unwrap(),
        };
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
    /// for average in (None, "micro", "macro", "weighted"):
    ///     print(scores(truth, found, average=average, zero_division=0))
    /// ```
    #[test]
    fn scores_equal_those_of_scikit_learn_and_add_up_over_batches() {
        let mut all = matrix(0..3);
        all.add(&matrix(3..4)).unwrap();
        all.add(&matrix(4..10)).unwrap();
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
        assert_scores(all.micro_average(), [0.5; 3]);
        assert_scores(all.macro_average(), [0.375, 0.541_666_666_7, 0.434_523_809_5]);
        assert_scores(all.weighted_average(), [0.4, 0.5, 0.438_095_238_1]);
    }

    #[test]
    fn labels_that_are_no_class_are_errors() {
        let scores = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
        for (labels, expected) in [
            (&[2i64][..], "the label 2 is not below 2"),
            (&[-1], "the label -1 is not below 2"),
            (&[0, 1], "1 row of scores and 2 labels"),
        ] {
            let labels = Tensor::new(labels, &Device::Cpu).unwrap();
            let error = ConfusionMatrix::of(&scores, &labels).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn matrices_of_different_numbers_of_classes_do_not_add_up() {
        let two = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
        let two = ConfusionMatrix::of(&two, &Tensor::new(&[1u32], &Device::Cpu).unwrap()).unwrap();
        let mut five = matrix(0..3);
        let error = five.add(&two).unwrap_err().to_string();
        let expected = "a confusion matrix of 5 classes and one of 2 do not add up\n\
                        hint: score every batch over the same classes";
        assert_eq!(error, expected);
        assert_eq!(five, matrix(0..3));
    }

    #[test]
    fn without_rows_accuracy_is_nan_and_the_other_scores_are_zero() {
        let none = matrix(0..0);
        assert!(none.accuracy().is_nan());
        for scores in [none.class(0), none.micro_average(), none.macro_average()] {
            assert_scores(scores, [0.0; 3]);
        }
        assert_scores(none.weighted_average(), [0.0; 3]);
    }

    #[test]
    fn the_table_has_names_counts_and_scores() {
        let mut matrix = matrix(0..10);
        let named = matrix.clone().with_labels(["a", "b", "c", "d", "long"]);
        matrix.add(&named).unwrap();
        let expected = "               a      b      c      d   long  recall
a              4      2      0      0      2   0.500
b              2      4      0      0      0   0.667
c              2      2      0      0      0   0.000
d              0      0      0      0      0   0.000
long           0      0      0      0      2   1.000
precision  0.500  0.500  0.000  0.000  0.500";
        assert_eq!(matrix.to_string(), expected);
        let numbered = self::matrix(0..10).to_string();
        assert!(numbered.starts_with("               0      1"), "{numbered}");
    }
}
