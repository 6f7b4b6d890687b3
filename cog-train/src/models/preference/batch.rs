//! Pairs of answers as tensors.

use candle_core::{Device, Error as TensorError, Tensor};

use super::AnswerLogProbs;
use crate::error::{Error, counted};
use crate::models::targets::Targets;
use crate::models::tokens::Tokens;

/// A batch of `B` pairs: `2 B` rows, the chosen answers first, then the rejected ones in the same order.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::models::{PreferenceBatch, Targets};
///
/// let ignored = Targets::IGNORED;
/// // The prompt is `5 6`, the answers are `7` and `8 9`. The last token of a text is a target alone.
/// let inputs = [vec![5, 6], vec![5, 6, 8]];
/// let targets = [vec![ignored, 7], vec![ignored, 8, 9]];
/// let batch = PreferenceBatch::new(&inputs, &targets, 0, &Device::Cpu)?;
/// assert_eq!((batch.pairs(), batch.tokens().ids().dims()), (1, &[2, 3][..]));
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// With the feature `text`, `text::Preference::batch` makes it of rows.
#[derive(Debug, Clone)]
pub struct PreferenceBatch {
    tokens: Tokens,
    targets: Targets,
    /// The number of targets of each row, `[2 B]` of floats.
    lengths: Tensor,
    pairs: usize,
    reference: Option<AnswerLogProbs>,
}

impl PreferenceBatch {
    /// Makes the batch of rows of token ids, padded at the right with `padding`. `targets` holds for each token of `inputs` the one
    /// that the model predicts after it, or [`Targets::IGNORED`] within the prompt.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the number of rows is odd, a row has another number of targets than of inputs or none that counts,
    /// or the device fails.
    #[expect(clippy::cast_precision_loss, reason = "an answer has far fewer than 2^24 tokens")]
    pub fn new(
        inputs: &[Vec<u32>],
        targets: &[Vec<u32>],
        padding: u32,
        device: &Device,
    ) -> Result<Self, Error> {
        let rows = inputs.len();
        if !rows.is_multiple_of(2) || rows != targets.len() {
            return Err(refused(format!(
                "{} of inputs and {} of targets cannot be split into pairs",
                counted(rows, "row"),
                targets.len()
            )));
        }
        let mut lengths = Vec::with_capacity(rows);
        for (row, (inputs, targets)) in inputs.iter().zip(targets).enumerate() {
            if inputs.len() != targets.len() {
                let (inputs, targets) = (inputs.len(), targets.len());
                return Err(refused(format!(
                    "row {row} has {inputs} inputs and {targets} targets"
                )));
            }
            let count = targets.iter().filter(|target| **target != Targets::IGNORED).count();
            if count == 0 {
                return Err(refused(format!("the answer in row {row} has no token")));
            }
            lengths.push(count as f32);
        }
        Ok(Self {
            tokens: Tokens::padded(inputs, padding, device)?,
            targets: Targets::of_next(targets, device)?,
            lengths: Tensor::from_vec(lengths, rows, device)?,
            pairs: rows / 2,
            reference: None,
        })
    }

    /// Adds the log-probabilities that the reference gives the answers. Without them, a model with an adapter computes them with
    /// the adapter switched off.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when they are not of as many pairs.
    pub fn with_reference(mut self, reference: AnswerLogProbs) -> Result<Self, Error> {
        for found in [&reference.chosen, &reference.rejected] {
            if found.dims() != [self.pairs] {
                let (found, pairs) = (found.dims(), self.pairs);
                return Err(refused(format!(
                    "the reference has log-probabilities {found:?} for {}",
                    counted(pairs, "pair")
                )));
            }
        }
        self.reference = Some(reference);
        Ok(self)
    }

    /// The number of pairs: what a sum of their losses is divided by.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// The tokens of all answers, `[2 B, T]`.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The targets of all answers.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The log-probabilities of the reference, if they were added.
    #[must_use]
    pub fn reference(&self) -> Option<&AnswerLogProbs> {
        self.reference.as_ref()
    }

    /// The number of targets of each row, `[2 B]` of floats.
    pub(super) fn lengths(&self) -> &Tensor {
        &self.lengths
    }
}

fn refused(reason: String) -> Error {
    TensorError::Msg(reason).into()
}
