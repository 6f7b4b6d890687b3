//! Sums over rows or tokens: of losses, and of the scores of an evaluation.

use serde::{Deserialize, Serialize};

use super::loss::Loss;
use crate::error::Error;
use crate::metrics::bits;

/// A sum over rows or tokens, and their weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    #[serde(with = "bits")]
    pub(super) sum: f64,
    #[serde(with = "bits")]
    pub(super) weight: f64,
}

impl Sums {
    /// Returns the sum of a loss.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub(super) fn of(loss: &Loss) -> Result<Self, Error> {
        Ok(Self { sum: loss.value()?, weight: loss.weight() })
    }

    pub(super) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    pub(super) fn mean(self) -> f64 {
        self.sum / self.weight
    }
}
