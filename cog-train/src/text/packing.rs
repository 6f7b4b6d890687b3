//! Packing: short examples that share one row of a batch.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::example::Example;
use super::examples::{Examples, hexadecimal};
use crate::data::Dataset;
use crate::error::Error;

/// Distributes items of these lengths over packs of at most `capacity`, and returns the items of each pack.
///
/// Best fit decreasing: the longest item first, each into the fullest pack that has room for it. The result is a function of
/// the arguments alone; items are in order in their pack, and packs in the order of their first items. An item of no length is
/// in no pack, and one that is longer than the capacity has a pack of its own.
///
/// ```
/// use cog_train::text::pack;
///
/// assert_eq!(pack(&[5, 3, 6, 4, 2], 10), [vec![0, 1, 4], vec![2, 3]]);
/// ```
#[must_use]
pub fn pack(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).filter(|at| lengths[*at] > 0).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(lengths[*at]), *at));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    // (room, pack)
    let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
    for item in order {
        let length = lengths[item];
        let fullest = open.range((length, 0)..).next().copied();
        let (room, pack) = if let Some(fullest) = fullest {
            open.remove(&fullest);
            fullest
        } else {
            packs.push(Vec::new());
            (capacity, packs.len() - 1)
        };
        packs[pack].push(item);
        if let Some(left) = room.checked_sub(length).filter(|left| *left > 0) {
            open.insert((left, pack));
        }
    }
    for pack in &mut packs {
        pack.sort_unstable();
    }
    packs.sort_unstable();
    packs
}

/// Examples in packs: each item is one row of a batch. [`TextBatch::packed`](super::TextBatch::packed) makes its tensors.
///
/// Which examples share a pack does not change from epoch to epoch; the order of packs does.
pub struct Packs {
    examples: Examples,
    packs: Vec<Vec<usize>>,
}

impl Packs {
    /// Packs examples whose inputs together have at most `capacity` tokens.
    #[must_use]
    pub fn new(examples: Examples, capacity: usize) -> Self {
        let lengths: Vec<usize> =
            examples.all().iter().map(|example| example.inputs().len()).collect();
        Self { packs: pack(&lengths, capacity), examples }
    }

    /// Returns the examples.
    #[must_use]
    pub fn examples(&self) -> &Examples {
        &self.examples
    }
}

impl Dataset for Packs {
    type Item = Vec<Example>;

    fn len(&self) -> usize {
        self.packs.len()
    }

    fn item(&self, index: usize) -> Result<Vec<Example>, Error> {
        let pack = self.packs.get(index).ok_or_else(|| Error::Data {
            location: "packs".to_owned(),
            reason: format!("row {} is out of range: there are {}", index + 1, self.packs.len()),
        })?;
        pack.iter().map(|at| self.examples.item(*at)).collect()
    }

    fn tokens(&self, index: usize) -> usize {
        let pack = self.packs.get(index).into_iter().flatten();
        pack.map(|at| self.examples.tokens(*at)).sum()
    }

    fn location(&self, index: usize) -> String {
        match self.packs.get(index).map(Vec::as_slice) {
            Some([first, others @ ..]) => {
                format!("{} and {} more in its pack", self.examples.location(*first), others.len())
            }
            _ => format!("pack {}", index + 1),
        }
    }

    fn digest(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        hash.update(self.examples.digest()?);
        for pack in &self.packs {
            hash.update((pack.len() as u64).to_le_bytes());
            for at in pack {
                hash.update((*at as u64).to_le_bytes());
            }
        }
        Ok(hexadecimal(hash))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_goes_first_and_into_the_fullest_pack_with_room() {
        assert_eq!(pack(&[], 4), Vec::<Vec<usize>>::new());
        assert_eq!(pack(&[4, 4], 4), [[0], [1]]);
        assert_eq!(pack(&[0, 9, 1], 4), [[1], [2]]);
        // 7 | 6 | 4 joins 6, 3 joins 7: not the other way round, for 4 does not fit with 7.
        assert_eq!(pack(&[3, 6, 4, 7], 10), [[0, 3], [1, 2]]);
    }

    proptest! {
        #[test]
        fn each_item_is_in_one_pack_and_no_pack_is_too_long(
            lengths in proptest::collection::vec(1usize..40, 0..60), capacity in 40usize..100,
        ) {
            let packs = pack(&lengths, capacity);
            let mut all = packs.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            let filled: Vec<usize> = packs.iter().map(|pack| pack.iter().map(|at| lengths[*at]).sum()).collect();
            prop_assert!(filled.iter().all(|sum| *sum <= capacity));
            // No two packs fit into one: the bound of best fit.
            let mut sorted = filled.clone();
            sorted.sort_unstable();
            if let [one, two, ..] = sorted[..] {
                prop_assert!(one + two > capacity);
            }
        }
    }
}
