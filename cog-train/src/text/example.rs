//! Tokens of which some are trained.

use std::ops::Range;

use cog_train_nn::IGNORED;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Tokens, and which of them a model is trained to predict.
///
/// A model reads all tokens but the last ([`Example::inputs`]) and predicts at each position the token after it
/// ([`Example::targets`]); a token that is not trained is an ignored target. The first token is never one.
///
/// ```
/// use cog_train::nn::IGNORED;
/// use cog_train::text::Example;
///
/// // A prompt of two tokens and a completion of two.
/// let example = Example::completion(vec![10, 11, 12, 13], 2);
/// assert_eq!(example.inputs(), [10, 11, 12]);
/// assert_eq!(example.targets(), [IGNORED, 12, 13]);
/// assert_eq!(example.trained_tokens(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Example {
    ids: Vec<u32>,
    /// In order, not empty, and behind the first token.
    trained: Vec<Range<usize>>,
}

impl Example {
    /// Tokens of which those in the ranges are trained. The ranges are in order; what is beyond the tokens is dropped.
    #[must_use]
    pub fn new(ids: Vec<u32>, trained: impl IntoIterator<Item = Range<usize>>) -> Self {
        let within = |range: Range<usize>| range.start.max(1)..range.end.min(ids.len());
        let trained = trained.into_iter().map(within).filter(|range| !range.is_empty()).collect();
        Self { ids, trained }
    }

    /// A prompt of `prompt` tokens, and a completion that is trained.
    #[must_use]
    pub fn completion(ids: Vec<u32>, prompt: usize) -> Self {
        let completion = prompt..ids.len();
        Self::new(ids, [completion])
    }

    /// Returns all tokens.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the ranges of trained tokens.
    #[must_use]
    pub fn trained(&self) -> &[Range<usize>] {
        &self.trained
    }

    /// Returns the tokens that a model reads: all but the last.
    #[must_use]
    pub fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len().saturating_sub(1)]
    }

    /// Returns the target at each input: the token after it, or [`IGNORED`].
    #[must_use]
    pub fn targets(&self) -> Vec<u32> {
        let mut targets = vec![IGNORED; self.inputs().len()];
        for range in &self.trained {
            targets[range.start - 1..range.end - 1].copy_from_slice(&self.ids[range.clone()]);
        }
        targets
    }

    /// Returns the number of targets that are not ignored.
    #[must_use]
    pub fn trained_tokens(&self) -> usize {
        self.trained.iter().map(ExactSizeIterator::len).sum()
    }

    /// Adds the tokens and which of them are trained to a digest.
    pub(super) fn digest_into(&self, hash: &mut Sha256) {
        let mut number = |number: usize| hash.update((number as u64).to_le_bytes());
        number(self.ids.len());
        number(self.trained.len());
        self.ids.iter().for_each(|id| number(*id as usize));
        for range in &self.trained {
            number(range.start);
            number(range.end);
        }
    }

    /// Drops tokens until there are at most `most`.
    pub(super) fn truncate(self, most: usize, truncation: Truncation) -> Self {
        let excess = self.ids.len().saturating_sub(most);
        if excess == 0 {
            return self;
        }
        let mut ids = self.ids;
        match truncation {
            Truncation::End => {
                ids.truncate(most);
                Self::new(ids, self.trained)
            }
            Truncation::Start => {
                // The first token stays: it may be the one that each sequence begins with.
                ids.drain(1..=excess);
                let moved = |at: usize| at.saturating_sub(excess).max(1);
                let moved = |range: Range<usize>| moved(range.start)..moved(range.end).max(1);
                Self::new(ids, self.trained.into_iter().map(moved))
            }
        }
    }
}

/// The side of an example that is too long and loses tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Truncation {
    /// The end, with a part of the answer.
    #[default]
    End,
    /// The start, with a part of the prompt. The first token stays.
    Start,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_and_what_is_beyond_the_end_are_no_targets() {
        let example = Example::new(vec![1, 2, 3], [0..2, 2..9, 9..12]);
        assert_eq!(example.targets(), [2, 3]);
        assert_eq!(example.trained(), [1..2, 2..3]);
        for ids in [vec![], vec![1]] {
            let example = Example::new(ids, std::iter::once(0..9));
            assert_eq!(
                (example.inputs().len(), example.targets().len(), example.trained_tokens()),
                (0, 0, 0)
            );
        }
    }

    #[test]
    fn truncation_keeps_each_trained_token_that_is_left() {
        let whole = Example::new((10..20).collect(), [2..4, 6..9]);
        for (most, truncation, ids, targets) in [
            (10, Truncation::End, (10..20).collect::<Vec<u32>>(), vec![12, 13, 16, 17, 18]),
            (7, Truncation::End, (10..17).collect(), vec![12, 13, 16]),
            (2, Truncation::End, vec![10, 11], vec![]),
            (6, Truncation::Start, vec![10, 15, 16, 17, 18, 19], vec![16, 17, 18]),
            (8, Truncation::Start, vec![10, 13, 14, 15, 16, 17, 18, 19], vec![13, 16, 17, 18]),
            (2, Truncation::Start, vec![10, 19], vec![]),
        ] {
            let cut = whole.clone().truncate(most, truncation);
            assert_eq!(cut.ids(), ids, "{most} {truncation:?}");
            let found: Vec<u32> = cut.targets().into_iter().filter(|id| *id != IGNORED).collect();
            assert_eq!(found, targets, "{most} {truncation:?}");
        }
    }
}
