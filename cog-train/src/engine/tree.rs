//! Sums whose order depends on the number of summands alone.

/// Adds values as the first leaves of a binary tree: neighbours first, then their sums, and so on. Missing leaves on the
/// right add nothing.
///
/// A tree over blocks of leaves, added by a tree over the blocks, is the tree over all leaves, if the blocks have the same
/// power of two as length, but for the last one. So a sum has the same bits for any number of ranks.
///
/// It holds one sum for each bit that is set in the number of values: at most log2(n) + 1.
#[derive(Debug)]
pub(super) struct Tree<T> {
    /// Of subtrees, the largest first.
    sums: Vec<T>,
    count: u64,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { sums: Vec::new(), count: 0 }
    }
}

impl<T> Tree<T> {
    /// Adds the next leaf.
    pub(super) fn push<E>(
        &mut self,
        leaf: T,
        mut add: impl FnMut(T, T) -> Result<T, E>,
    ) -> Result<(), E> {
        self.count += 1;
        let mut sum = leaf;
        for _ in 0..self.count.trailing_zeros() {
            if let Some(left) = self.sums.pop() {
                sum = add(left, sum)?;
            }
        }
        self.sums.push(sum);
        Ok(())
    }

    /// Returns the sums of subtrees, the largest first: added up from the last to the first, they are the sum of all leaves.
    pub(super) fn into_sums(self) -> Vec<T> {
        self.sums
    }

    /// Returns the sum of all leaves; `None` without any.
    pub(super) fn finish<E>(
        mut self,
        mut add: impl FnMut(T, T) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let Some(mut sum) = self.sums.pop() else { return Ok(None) };
        while let Some(left) = self.sums.pop() {
            sum = add(left, sum)?;
        }
        Ok(Some(sum))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn sum(leaves: impl IntoIterator<Item = Option<String>>) -> Option<String> {
        let add = |left: Option<String>, right: Option<String>| {
            Ok::<_, Infallible>(match (left, right) {
                (Some(left), Some(right)) => Some(format!("({left}{right})")),
                (left, right) => left.or(right),
            })
        };
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.push(leaf, add).unwrap();
        }
        tree.finish(add).unwrap().flatten()
    }

    fn leaves(count: usize) -> Vec<Option<String>> {
        ('a'..='z').take(count).map(|leaf| Some(leaf.to_string())).collect()
    }

    #[test]
    fn neighbours_are_added_first() {
        let text = |count| sum(leaves(count)).unwrap();
        assert_eq!(sum(leaves(0)), None);
        assert_eq!([text(1), text(2), text(3)], ["a", "(ab)", "((ab)c)"]);
        assert_eq!([text(5), text(7)], ["(((ab)(cd))e)", "(((ab)(cd))((ef)g))"]);
    }

    #[test]
    fn the_sum_of_the_sums_of_ranks_is_the_sum_of_all_leaves() {
        for count in 0..20 {
            let whole = sum(leaves(count));
            for world in [2, 4, 8, 16] {
                let shard = |rank| crate::data::Shard { rank, world }.micro_batches(count);
                let parts = (0..world).map(|rank| sum(leaves(count)[shard(rank)].to_vec()));
                assert_eq!(sum(parts), whole, "{count} leaves on {world} ranks");
            }
        }
    }

    #[test]
    fn few_sums_are_held_at_once() {
        let mut tree = Tree::default();
        for count in 1..200u64 {
            tree.push(1, |one, two| Ok::<u64, Infallible>(one + two)).unwrap();
            assert_eq!(tree.sums.len() as u64, u64::from(count.count_ones()));
            assert_eq!(tree.sums.iter().sum::<u64>(), count);
        }
    }
}
