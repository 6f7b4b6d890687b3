//! The assignment of rows to batches: pure functions of (seed, epoch, index), so that there is no state to save.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, counted};
use cog_train_nn::rng::Rng;

/// The size of a batch.
///
/// ```
/// use cog_train::data::{Batching, Sampler};
///
/// let lengths = vec![3, 9, 3, 8];
/// let sampler = Sampler::new(0, 4, Batching::tokens(20), false)?.lengths(lengths)?;
/// let epoch = sampler.epoch(0);
/// let mut batches: Vec<Vec<u32>> = epoch.iter().map(<[u32]>::to_vec).collect();
/// batches.iter_mut().for_each(|batch| batch.sort());
/// batches.sort();
/// assert_eq!(batches, [[0, 2], [1, 3]]); // like lengths together: 2 * 3 and 2 * 9 tokens once padded
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// This many rows. The last batch of an epoch may have fewer.
    Rows(usize),
    /// As many rows of similar length as fit, once all are padded to the longest.
    Tokens {
        /// The most of rows times the longest of them.
        most: usize,
        /// Rows of similar length are chosen among this many consecutive rows of the epoch's order. More means
        /// less padding; fewer means batches that are closer to random.
        pool: usize,
    },
}

impl Batching {
    /// By tokens, with pools of 4096 rows.
    #[must_use]
    pub fn tokens(most: usize) -> Self {
        Self::Tokens { most, pool: 4096 }
    }
}

/// The position of a run in its data: all that a checkpoint keeps of it.
///
/// The example of [`Loader`](super::Loader) has two.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// Counted from 0.
    pub epoch: u64,
    /// The batch in the epoch, counted from 0.
    pub batch: u64,
}

/// The order of rows and their batches, by epoch.
///
/// ```
/// use cog_train::data::{Batching, Sampler};
///
/// let sampler = Sampler::new(42, 10, Batching::Rows(4), true)?;
/// let epoch = sampler.epoch(0);
/// assert_eq!(epoch.len(), 3);
/// assert_eq!(epoch.batch(2).len(), 2);
/// let mut all: Vec<u32> = (0..3).flat_map(|at| epoch.batch(at).to_vec()).collect();
/// all.sort();
/// assert_eq!(all, (0..10).collect::<Vec<u32>>());
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    seed: u64,
    count: u32,
    batching: Batching,
    shuffle: bool,
    drop_last: bool,
    /// Empty when every row counts 1.
    lengths: Vec<u32>,
}

impl Sampler {
    /// An order of `count` rows that each count 1.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when there are no rows, or more than 2^32 - 1, or a batch holds none.
    pub fn new(seed: u64, count: usize, batching: Batching, shuffle: bool) -> Result<Self, Error> {
        let fail = |reason: String| Err(Error::InvalidConfig { reason });
        match batching {
            Batching::Rows(0) => return fail("a batch of 0 rows".to_owned()),
            Batching::Tokens { most: 0, .. } => return fail("a batch of 0 tokens".to_owned()),
            Batching::Tokens { pool: 0, .. } => return fail("a pool of 0 rows".to_owned()),
            _ => {}
        }
        let Ok(rows) = u32::try_from(count) else {
            return fail(format!("the data has {count} rows, more than {}", u32::MAX));
        };
        if rows == 0 {
            return fail("the data has no rows".to_owned());
        }
        let (drop_last, lengths) = (false, Vec::new());
        Ok(Self { seed, count: rows, batching, shuffle, drop_last, lengths })
    }

    /// Sets the tokens of each row, for [`Batching::Tokens`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when there are not as many as rows, or a row alone has more than fit in a batch.
    pub fn lengths(mut self, lengths: Vec<u32>) -> Result<Self, Error> {
        let fail = |reason: String| Err(Error::InvalidConfig { reason });
        if lengths.len() != self.count as usize {
            return fail(format!(
                "{} for {}",
                counted(lengths.len(), "length"),
                counted(self.count, "row")
            ));
        }
        if let Batching::Tokens { most, .. } = self.batching
            && let Some((row, length)) =
                lengths.iter().enumerate().find(|(_, length)| **length as usize > most)
        {
            return fail(format!(
                "row {} has {length} tokens, more than the {most} of a batch\nhint: cut long rows, or allow more \
                 tokens in a batch",
                row + 1
            ));
        }
        self.lengths = lengths;
        Ok(self)
    }

    /// Drops the last batch of an epoch when it has fewer rows than others. Batches by tokens have no full size, so that
    /// none is dropped there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no batch would be left.
    pub fn drop_last(mut self, drop_last: bool) -> Result<Self, Error> {
        if drop_last
            && let Batching::Rows(rows) = self.batching
            && (self.count as usize) < rows
        {
            return Err(Error::InvalidConfig {
                reason: format!(
                    "the data has {}, fewer than the {rows} of a batch, and a last batch with fewer is dropped",
                    counted(self.count, "row")
                ),
            });
        }
        self.drop_last = drop_last;
        Ok(self)
    }

    /// Returns the batches of an epoch, counted from 0.
    #[must_use]
    pub fn epoch(&self, epoch: u64) -> Epoch {
        let mut order: Vec<u32> = (0..self.count).collect();
        if self.shuffle {
            Rng::new(self.seed, "shuffle").at(epoch).shuffle(&mut order);
        }
        let batches = match self.batching {
            Batching::Rows(rows) => {
                if self.drop_last {
                    order.truncate(order.len() / rows * rows);
                }
                (0..order.len()).step_by(rows).map(|at| at..order.len().min(at + rows)).collect()
            }
            Batching::Tokens { most, pool } => {
                let mut batches = self.fill(&mut order, most, pool);
                if self.shuffle {
                    Rng::new(self.seed, "shuffle batches").at(epoch).shuffle(&mut batches);
                }
                batches
            }
        };
        Epoch { order, batches }
    }

    /// Returns the number of batches of an epoch: a division for batches by rows, else as slow as [`Sampler::epoch`].
    #[must_use]
    pub fn steps_in(&self, epoch: u64) -> u64 {
        let count = self.count as usize;
        match self.batching {
            Batching::Rows(rows) if self.drop_last => (count / rows) as u64,
            Batching::Rows(rows) => count.div_ceil(rows) as u64,
            Batching::Tokens { .. } => self.epoch(epoch).len() as u64,
        }
    }

    fn length(&self, row: u32) -> usize {
        self.lengths.get(row as usize).map_or(1, |length| *length as usize)
    }

    /// Sorts each pool by length and cuts it where the next row would make the padded batch too large.
    fn fill(&self, order: &mut [u32], most: usize, pool: usize) -> Vec<Range<usize>> {
        let mut batches = Vec::new();
        let mut start = 0;
        for pool in order.chunks_mut(pool) {
            // Stable: rows of one length stay in the epoch's order.
            pool.sort_by_key(|row| self.length(*row));
            let mut first = 0;
            for (at, row) in pool.iter().enumerate() {
                // Sorted upwards, so this row is the longest so far.
                if at > first && (at + 1 - first).saturating_mul(self.length(*row)) > most {
                    batches.push(start + first..start + at);
                    first = at;
                }
            }
            batches.push(start + first..start + pool.len());
            start += pool.len();
        }
        batches
    }
}

/// The batches of one epoch.
///
/// [`Sampler::epoch`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    order: Vec<u32>,
    batches: Vec<Range<usize>>,
}

impl Epoch {
    /// Returns the number of batches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The rows of a batch; none where there is no such batch.
    #[must_use]
    pub fn batch(&self, index: usize) -> &[u32] {
        self.batches.get(index).map_or(&[], |batch| &self.order[batch.clone()])
    }

    /// All batches.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.batches.iter().map(|batch| &self.order[batch.clone()])
    }
}

#[cfg(test)]
mod tests;
