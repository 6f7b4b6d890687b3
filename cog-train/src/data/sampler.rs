//! Which rows are in which batch: pure functions of (seed, epoch, index), so that there is no state to save.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use cog_train_nn::rng::Rng;

/// How many rows make a batch.
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
    /// So many rows. The last batch of an epoch may have fewer.
    Rows(usize),
    /// As many rows of like length as fit, once all are padded to the longest.
    Tokens {
        /// The most of rows times the longest of them.
        most: usize,
        /// Rows of like length are looked for among so many that follow each other in the epoch's order. More means
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

/// Where a run stands in its data: all that a checkpoint has to keep of it.
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
    rank: usize,
    world: usize,
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
        Ok(Self { seed, count: rows, batching, shuffle, drop_last, lengths, rank: 0, world: 1 })
    }

    /// With the tokens of each row, for [`Batching::Tokens`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when there are not as many as rows, or a row alone has more than fit in a batch.
    pub fn lengths(mut self, lengths: Vec<u32>) -> Result<Self, Error> {
        let fail = |reason: String| Err(Error::InvalidConfig { reason });
        if lengths.len() != self.count as usize {
            return fail(format!("there are {} lengths for {} rows", lengths.len(), self.count));
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
                    "the data has {} rows, fewer than the {rows} of a batch, and a last batch with fewer is dropped",
                    self.count
                ),
            });
        }
        self.drop_last = drop_last;
        Ok(self)
    }

    /// For one of `world` processes, which each take a part of every batch.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when `rank` is not below `world`.
    pub fn ranks(mut self, rank: usize, world: usize) -> Result<Self, Error> {
        if rank >= world {
            return Err(Error::InvalidConfig {
                reason: format!("rank {rank} in a world of {world}"),
            });
        }
        (self.rank, self.world) = (rank, world);
        Ok(self)
    }

    /// The batches of an epoch, counted from 0.
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

    /// How many batches an epoch has: a division where batches are by rows, else as long as making them.
    #[must_use]
    pub fn steps_in(&self, epoch: u64) -> u64 {
        let count = self.count as usize;
        match self.batching {
            Batching::Rows(rows) if self.drop_last => (count / rows) as u64,
            Batching::Rows(rows) => count.div_ceil(rows) as u64,
            Batching::Tokens { .. } => self.epoch(epoch).len() as u64,
        }
    }

    /// This rank's part of a batch. The parts of all ranks are disjoint, together the batch, and differ by at most one
    /// row; where the batch has fewer rows than there are ranks, some are empty.
    #[must_use]
    pub fn shard(&self, batch: &[u32]) -> Vec<u32> {
        // In turns, not in blocks: rows sorted by length are then shared out evenly.
        batch.iter().skip(self.rank).step_by(self.world).copied().collect()
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
    /// How many batches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The rows of a batch, over all ranks; none where there is no such batch.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_batching() -> impl Strategy<Value = Batching> {
        prop_oneof![
            (1usize..40).prop_map(Batching::Rows),
            (50usize..300, 1usize..100).prop_map(|(most, pool)| Batching::Tokens { most, pool }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn an_epoch_has_every_row_once_and_is_always_the_same(
            seed: u64, epoch in 0u64..1000, batching in any_batching(), shuffle: bool,
            lengths in prop::collection::vec(0u32..50, 1..300),
        ) {
            let count = lengths.len();
            let make = || Sampler::new(seed, count, batching, shuffle).unwrap().lengths(lengths.clone()).unwrap();
            let made = make().epoch(epoch);
            prop_assert_eq!(&made, &make().epoch(epoch));
            prop_assert_eq!(made.len() as u64, make().steps_in(epoch));
            let mut all = made.iter().flatten().copied().collect::<Vec<_>>();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..u32::try_from(count).unwrap()));
            for (at, batch) in made.iter().enumerate() {
                prop_assert!(!batch.is_empty());
                match batching {
                    Batching::Rows(rows) => prop_assert!(batch.len() == rows || at + 1 == made.len()),
                    Batching::Tokens { most, .. } => {
                        let longest = batch.iter().map(|row| lengths[*row as usize]).max().unwrap();
                        prop_assert!(batch.len() * longest as usize <= most);
                    }
                }
            }
        }

        #[test]
        fn shards_are_disjoint_together_the_batch_and_even(
            batch in prop::collection::hash_set(any::<u32>(), 0..60), world in 1usize..9,
        ) {
            let batch: Vec<u32> = batch.into_iter().collect();
            let of = |rank| Sampler::new(0, 1, Batching::Rows(1), true).unwrap().ranks(rank, world).unwrap();
            let parts: Vec<Vec<u32>> = (0..world).map(|rank| of(rank).shard(&batch)).collect();
            let sizes = parts.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            let (mut all, mut batch) = (parts.concat(), batch);
            all.sort_unstable();
            batch.sort_unstable();
            prop_assert_eq!(all, batch);
        }

        #[test]
        fn a_dropped_batch_is_the_ragged_one_only(count in 1usize..100, rows in 1usize..20) {
            let whole = Sampler::new(5, count, Batching::Rows(rows), true).unwrap();
            let Ok(dropped) = whole.clone().drop_last(true) else {
                prop_assert!(count < rows);
                return Ok(());
            };
            let (whole, short) = (whole.epoch(2), dropped.epoch(2));
            prop_assert_eq!(short.len() as u64, dropped.steps_in(2));
            prop_assert_eq!(short.len(), count / rows);
            prop_assert!(short.iter().zip(whole.iter()).all(|(short, whole)| short == whole && short.len() == rows));
        }
    }

    #[test]
    fn order_depends_on_seed_and_epoch_and_on_no_batching() {
        let order = |seed, epoch, rows| {
            let sampler = Sampler::new(seed, 50, Batching::Rows(rows), true).unwrap();
            sampler.epoch(epoch).iter().flatten().copied().collect::<Vec<u32>>()
        };
        assert_eq!(order(1, 0, 4), order(1, 0, 7));
        assert_ne!(order(1, 0, 4), order(2, 0, 4));
        assert_ne!(order(1, 0, 4), order(1, 1, 4));
    }

    #[test]
    fn batches_by_tokens_come_in_no_order_of_length_and_pad_little() {
        let lengths: Vec<u32> = (0..1000).map(|row| row * 37 % 200 + 1).collect();
        let sampler = Sampler::new(3, 1000, Batching::tokens(1000), true).unwrap();
        let sampler = sampler.lengths(lengths.clone()).unwrap();
        let epoch = sampler.epoch(0);
        let longest: Vec<u32> = epoch
            .iter()
            .map(|batch| batch.iter().map(|row| lengths[*row as usize]).max().unwrap())
            .collect();
        assert!(!longest.is_sorted() && !longest.iter().rev().is_sorted());
        let padded: usize = epoch
            .iter()
            .zip(&longest)
            .map(|(batch, longest)| batch.len() * *longest as usize)
            .sum();
        let real: usize = lengths.iter().map(|length| *length as usize).sum();
        assert!(padded * 20 < real * 21, "{padded} padded, {real} real");
        // Without shuffling the same pools come shortest first.
        let plain = Sampler { shuffle: false, ..sampler }.epoch(0);
        assert!(plain.iter().map(|batch| lengths[batch[0] as usize]).is_sorted());
    }

    #[test]
    fn what_cannot_be_is_refused_with_both_numbers() {
        let reason = |made: Result<Sampler, Error>| made.unwrap_err().to_string();
        assert_eq!(reason(Sampler::new(0, 0, Batching::Rows(1), true)), "the data has no rows");
        assert_eq!(reason(Sampler::new(0, 1, Batching::Rows(0), true)), "a batch of 0 rows");
        let sampler = Sampler::new(0, 3, Batching::tokens(10), true).unwrap();
        let error = reason(sampler.clone().lengths(vec![10, 11, 3]));
        assert!(
            error.starts_with("row 2 has 11 tokens, more than the 10 of a batch\nhint: "),
            "{error}"
        );
        assert_eq!(reason(sampler.clone().lengths(vec![1])), "there are 1 lengths for 3 rows");
        assert_eq!(reason(sampler.ranks(2, 2)), "rank 2 in a world of 2");
        let four = Sampler::new(0, 3, Batching::Rows(4), true).unwrap();
        let error = reason(four.drop_last(true));
        assert!(error.starts_with("the data has 3 rows, fewer than the 4 of a batch"), "{error}");
    }

    #[test]
    fn a_position_is_plain_json() {
        let at = Position { epoch: 2, batch: 7 };
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, r#"{"epoch":2,"batch":7}"#);
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), at);
    }
}
