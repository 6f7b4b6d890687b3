//! One batch, split into micro-batches.

use std::ops::Range;
use std::time::Duration;

use super::sampler::Position;

/// A batch split into micro-batches: the data of one step.
///
/// The example of [`Batches`](super::Batches) looks into one.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<B> {
    /// The position of this batch.
    pub at: Position,
    /// The position of the next one, which a checkpoint keeps after this step.
    pub next: Position,
    /// The rows of the batch, as indices in the dataset.
    pub rows: Vec<u32>,
    /// The micro-batches, in the order of `rows`. Where ranks train together, those that this rank computes.
    pub parts: Vec<MicroBatch<B>>,
    /// The tokens of all rows, without padding.
    pub tokens: usize,
    /// The time that [`Batches::next`](super::Batches::next) waited for it.
    pub waited: Duration,
}

/// A micro-batch: rows that one forward pass computes.
///
/// [`Batch::parts`] has them.
#[derive(Debug, Clone, PartialEq)]
pub struct MicroBatch<B> {
    /// Its number in the batch, counted from 0.
    pub number: usize,
    /// Its range of [`Batch::rows`].
    pub rows: Range<usize>,
    /// The value of the collate function.
    pub batch: B,
}
