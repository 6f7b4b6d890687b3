//! The retention policy.

use std::collections::BTreeSet;

/// The checkpoints to keep when a new one has been saved.
///
/// ```
/// use cog_train::checkpoint::Keep;
///
/// let keep = Keep { last: 2, best: true };
/// // Steps, each with whether it was the best so far.
/// let saved = [(10, false), (20, true), (30, false), (40, false)];
/// assert!(keep.kept(saved, 40).into_iter().eq([20, 30, 40]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The number of the newest to keep, at least 1.
    pub last: usize,
    /// Whether to keep the newest that was the best so far as well.
    pub best: bool,
}

impl Default for Keep {
    /// Keeps the newest two and the best: should the newest be damaged, there is another.
    fn default() -> Self {
        Self { last: 2, best: true }
    }
}

impl Keep {
    /// Selects the steps to keep from `saved`, the steps of all checkpoints, each with whether it was the best so far.
    /// `newest` is the step that was just saved.
    ///
    /// Steps above `newest` belong to an earlier run that went further: they are kept and not counted.
    #[must_use]
    pub fn kept(self, saved: impl IntoIterator<Item = (u64, bool)>, newest: u64) -> BTreeSet<u64> {
        let (mut counted, mut kept, mut best) = (BTreeSet::from([newest]), BTreeSet::new(), None);
        for (step, was_best) in saved {
            if step <= newest { &mut counted } else { &mut kept }.insert(step);
            if was_best && step <= newest {
                best = best.max(Some(step));
            }
        }
        kept.extend(best.filter(|_| self.best));
        kept.extend(counted.into_iter().rev().take(self.last.max(1)));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(last: usize, best: bool, saved: &[(u64, bool)], newest: u64) -> Vec<u64> {
        Keep { last, best }.kept(saved.iter().copied(), newest).into_iter().collect()
    }

    #[test]
    fn keeps_the_newest_and_the_best() {
        let saved = [(1, true), (2, true), (3, false), (4, false), (5, false)];
        assert_eq!(kept(1, false, &saved, 5), [5]);
        assert_eq!(kept(2, false, &saved, 5), [4, 5]);
        assert_eq!(kept(2, true, &saved, 5), [2, 4, 5]);
        assert_eq!(kept(4, true, &saved, 5), [2, 3, 4, 5]);
        assert_eq!(kept(9, true, &saved, 5), [1, 2, 3, 4, 5]);
        assert_eq!(kept(1, true, &[], 5), [5]);
    }

    /// A run that was resumed at step 2 keeps what it saves, and deletes nothing ahead of it.
    #[test]
    fn keeps_the_step_just_saved_and_all_above_it() {
        let saved = [(1, true), (2, false), (3, false), (8, true), (9, false)];
        assert_eq!(kept(1, true, &saved, 3), [1, 3, 8, 9]);
        assert_eq!(kept(2, false, &saved, 3), [2, 3, 8, 9]);
        assert_eq!(kept(0, false, &saved, 3), [3, 8, 9]);
    }
}
