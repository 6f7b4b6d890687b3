//! Which checkpoints stay.

use std::collections::BTreeSet;

/// Which checkpoints stay when a new one has been saved.
///
/// ```
/// use cog_train::checkpoint::Keep;
///
/// let keep = Keep { last: 2, best: true };
/// // Steps, and whether each was the best so far.
/// let saved = [(10, false), (20, true), (30, false), (40, false)];
/// assert!(keep.stays(saved, 40).into_iter().eq([20, 30, 40]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How many of the newest stay, at least 1.
    pub last: usize,
    /// Whether the newest that was the best so far stays as well.
    pub best: bool,
}

impl Default for Keep {
    /// The newest two and the best: should the newest be damaged, there is another.
    fn default() -> Self {
        Self { last: 2, best: true }
    }
}

impl Keep {
    /// The steps that stay, of all that are there with whether each was the best so far, when `saved` is the step that
    /// was just saved.
    ///
    /// Steps above it are not of this run, which began below them: they stay, and do not count.
    #[must_use]
    pub fn stays(self, there: impl IntoIterator<Item = (u64, bool)>, saved: u64) -> BTreeSet<u64> {
        let (mut mine, mut stays, mut best) = (BTreeSet::from([saved]), BTreeSet::new(), None);
        for (step, was_best) in there {
            if step <= saved { &mut mine } else { &mut stays }.insert(step);
            if was_best && step <= saved {
                best = best.max(Some(step));
            }
        }
        stays.extend(best.filter(|_| self.best));
        stays.extend(mine.into_iter().rev().take(self.last.max(1)));
        stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stays(last: usize, best: bool, there: &[(u64, bool)], saved: u64) -> Vec<u64> {
        Keep { last, best }.stays(there.iter().copied(), saved).into_iter().collect()
    }

    #[test]
    fn the_newest_and_the_best_stay() {
        let there = [(1, true), (2, true), (3, false), (4, false), (5, false)];
        assert_eq!(stays(1, false, &there, 5), [5]);
        assert_eq!(stays(2, false, &there, 5), [4, 5]);
        assert_eq!(stays(2, true, &there, 5), [2, 4, 5]);
        assert_eq!(stays(4, true, &there, 5), [2, 3, 4, 5]);
        assert_eq!(stays(9, true, &there, 5), [1, 2, 3, 4, 5]);
        assert_eq!(stays(1, true, &[], 5), [5]);
    }

    /// A run that began again at step 2 keeps what it saves, and judges nothing of what is ahead.
    #[test]
    fn what_was_just_saved_stays_whatever_else_is_there() {
        let there = [(1, true), (2, false), (3, false), (8, true), (9, false)];
        assert_eq!(stays(1, true, &there, 3), [1, 3, 8, 9]);
        assert_eq!(stays(2, false, &there, 3), [2, 3, 8, 9]);
        assert_eq!(stays(0, false, &there, 3), [3, 8, 9]);
    }
}
