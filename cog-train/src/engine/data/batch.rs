//! One batch, split into micro-batches.

use std::ops::Range;
use std::time::Duration;

use super::sampler::Position;

/// All that one step trains on.
///
/// The example of [`Batches`] looks into one.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<B> {
    /// Where this batch stands.
    pub at: Position,
    /// Where the next one stands: what a checkpoint keeps once this step is done.
    pub next: Position,
    /// This rank's rows of the batch, as indices in the dataset. Empty where the batch has fewer rows than there are
    /// ranks.
    pub rows: Vec<u32>,
    /// The rows of all ranks.
    pub total: usize,
    /// The micro-batches, in the order of `rows`.
    pub parts: Vec<Part<B>>,
    /// The tokens of this rank's rows, without padding.
    pub tokens: usize,
    /// How long [`Batches::next`] waited for it.
    pub waited: Duration,
}

/// A micro-batch.
///
/// [`Step::parts`] are such.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<B> {
    /// Which of [`Step::rows`] it has.
    pub rows: Range<usize>,
    /// What the collate function made.
    pub batch: B,
}
