//! The shapes of a decay.

use serde::Serialize;

use super::curve::half_cosine;

/// The shape of the decay of [`Schedule::WarmupStableDecay`](super::Schedule::WarmupStableDecay).
///
/// ```
/// use cog_train::optim::schedule::{Decay, Schedule};
///
/// // The last 40 of 100 steps go down; half way, at step 80:
/// let share = |shape| Schedule::WarmupStableDecay { decay: 0.4, shape, floor: 0.0 }.at(80, 100);
/// assert!((share(Decay::Linear) - 0.5).abs() < 1e-9);
/// assert!((share(Decay::Cosine) - 0.5).abs() < 1e-9);
/// assert!((share(Decay::OneMinusSqrt) - 0.292_893).abs() < 1e-6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// In a straight line.
    #[default]
    Linear,
    /// Half a cosine.
    Cosine,
    /// `1 - sqrt(share done)`: steep at first (Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
    /// Training Durations", 2024).
    OneMinusSqrt,
}

impl Decay {
    /// Returns what is left of the peak once this share of the decay is done.
    pub(super) fn left(self, done: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - done,
            Self::Cosine => half_cosine(done),
            Self::OneMinusSqrt => 1.0 - done.sqrt(),
        }
    }
}
