//! The part of the data that one rank of a training reads.

use std::ops::Range;

/// The number of a rank, and the number of ranks, which is a power of two.
///
/// The micro-batches of a batch are the first leaves of a binary tree with [`slots`] leaves. Each rank has the leaves of one
/// subtree, so that the same sums are added whatever the number of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) rank: usize,
    pub(crate) world: usize,
}

impl Default for Shard {
    /// All of the data.
    fn default() -> Self {
        Self { rank: 0, world: 1 }
    }
}

impl Shard {
    /// Returns the numbers of this rank's micro-batches, of a batch that has `count`.
    pub(crate) fn micro_batches(self, count: usize) -> Range<usize> {
        let each = slots(count).max(self.world) / self.world;
        let start = (self.rank * each).min(count);
        start..(start + each).min(count)
    }

    /// Whether this rank evaluates a batch: they take turns.
    pub(crate) fn evaluates(self, batch: u64) -> bool {
        batch % self.world as u64 == self.rank as u64
    }
}

/// Returns the leaves of the tree of `count` micro-batches: the next power of two.
pub(crate) fn slots(count: usize) -> usize {
    count.next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_aligned_blocks_that_are_disjoint_and_complete() {
        for world in [1, 2, 4, 8] {
            for count in 0..40 {
                let blocks: Vec<Range<usize>> =
                    (0..world).map(|rank| Shard { rank, world }.micro_batches(count)).collect();
                assert!(blocks.iter().cloned().flatten().eq(0..count), "{count} on {world}");
                let each = slots(count).max(world) / world;
                for (rank, block) in blocks.iter().enumerate() {
                    assert!(each.is_power_of_two() && block.len() <= each);
                    assert!(block.is_empty() || block.start == rank * each);
                }
            }
        }
        // Of five micro-batches, the last rank of four has none.
        let of = |rank| Shard { rank, world: 4 }.micro_batches(5);
        assert_eq!([of(0), of(1), of(2), of(3)], [0..2, 2..4, 4..5, 5..5]);
    }
}
