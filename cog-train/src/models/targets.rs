//! The tokens that a language model is to predict.

use candle_core::{Device, Tensor};
use cog_train_nn::IGNORED;

use super::tokens::count;
use crate::error::Error;

/// The targets of [`CausalLm::loss`](super::CausalLm::loss): scores are computed only
/// where there is one.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::models::Targets;
///
/// // The labels of transformers: those of the second row are masked but for its last token.
/// let ignored = Targets::IGNORED;
/// let targets = Targets::of_labels(&[vec![5, 6, 7], vec![ignored, ignored, 4]], &Device::Cpu)?;
/// assert_eq!(targets.count(), 3); // 6 after 5, 7 after 6, and 4 in the second row
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Targets {
    /// Of the positions `[B * T]`, those that have a target.
    rows: Tensor,
    ids: Tensor,
    count: usize,
}

impl Targets {
    /// The label of a token that is not to be predicted.
    pub const IGNORED: u32 = IGNORED;

    /// The labels of transformers, one for each token of a row: each position predicts the label of the next one. Shorter
    /// rows are padded at the right, as those of [`Tokens::padded`](super::Tokens::padded).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn of_labels(labels: &[Vec<u32>], device: &Device) -> Result<Self, Error> {
        let next = |row: &Vec<u32>| row.iter().skip(1).copied().chain([IGNORED]).collect();
        let next: Vec<Vec<u32>> = labels.iter().map(next).collect();
        Self::of_next(&next, device)
    }

    /// The token that each position predicts, or [`IGNORED`](Self::IGNORED).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn of_next(next: &[Vec<u32>], device: &Device) -> Result<Self, Error> {
        let length = next.iter().map(Vec::len).max().unwrap_or(0);
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for (row, next) in next.iter().enumerate() {
            for (at, id) in next.iter().enumerate().filter(|(_, id)| **id != IGNORED) {
                rows.push(count(row * length + at)?);
                ids.push(*id);
            }
        }
        let count = ids.len();
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, count, device);
        Ok(Self { rows: tensor(rows)?, ids: tensor(ids)?, count })
    }

    /// Returns the number of targets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The flat indices of the positions, `[n]`.
    pub(crate) fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// The target of each of them, `[n]`.
    pub(crate) fn ids(&self) -> &Tensor {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[1, 2, 3]` and `[4, 5, 6, 7, 8]` have six targets, packed or padded.
    #[test]
    fn no_target_crosses_the_border_of_a_text() {
        let ignored = Targets::IGNORED;
        let packed = [vec![1, 2, 3, ignored, 5, 6, 7, 8]];
        let padded = [vec![1, 2, 3], vec![4, 5, 6, 7, 8]];
        for (labels, rows) in
            [(&packed[..], vec![0, 1, 3, 4, 5, 6]), (&padded[..], vec![0, 1, 5, 6, 7, 8])]
        {
            let targets = Targets::of_labels(labels, &Device::Cpu).unwrap();
            assert_eq!(targets.rows().to_vec1::<u32>().unwrap(), rows);
            assert_eq!(targets.ids().to_vec1::<u32>().unwrap(), [2, 3, 5, 6, 7, 8]);
        }
    }
}
