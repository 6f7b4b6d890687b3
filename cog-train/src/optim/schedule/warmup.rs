//! The length of a warm-up.

use serde::Serialize;

use super::curve::portion;

/// The length of a warm-up.
///
/// The step `s`, counted from 0, of a warm-up over `n` steps has the share `(s + 1) / (n + 1)`, so that no step is lost
/// to a learning rate of 0 and the peak is at step `n`. It is multiplied by what the schedule that follows begins with.
///
/// ```
/// use cog_train::engine::{Schedule, Warmup};
///
/// let schedule = Schedule::Constant.warmup(Warmup::Steps(3));
/// let shares: Vec<f64> = (0..5).map(|step| schedule.at(step, 100)).collect();
/// assert_eq!(shares, [0.25, 0.5, 0.75, 1.0, 1.0]);
/// assert_eq!(Schedule::linear().warmup(Warmup::Share(0.1)).at(10, 100), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warmup {
    /// So many steps.
    Steps(u64),
    /// This share of all steps, rounded to whole ones.
    Share(f64),
}

impl Warmup {
    /// Returns the number of steps, of a run of `steps`.
    pub(super) fn length(self, steps: u64) -> u64 {
        match self {
            Self::Steps(length) => length,
            Self::Share(share) => portion(share, steps),
        }
    }
}
