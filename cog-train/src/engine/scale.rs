//! Dynamic loss scaling: half precision cannot hold small gradients, so the loss is multiplied before the backward pass
//! and the gradients are divided after it (Micikevicius et al., "Mixed Precision Training", 2018; PyTorch's
//! `GradScaler`).

use serde::{Deserialize, Serialize};

use crate::params::Precision;

/// The greatest power of two that a half can hold.
const FIRST: f64 = 32_768.0;
/// A scale that still overflows at 1 is no matter of scale.
const LEAST: f64 = 1.0;
/// PyTorch grows after 2,000 steps too.
const GROWS_AFTER: u64 = 2000;

/// The factor of the loss. Only powers of two, so that nothing is rounded by it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    value: f64,
    /// Finite steps since the last change.
    calm: u64,
    dynamic: bool,
}

impl Scale {
    pub(super) fn new(precision: Precision) -> Self {
        let dynamic = precision == Precision::F16;
        Self { value: if dynamic { FIRST } else { 1.0 }, calm: 0, dynamic }
    }

    pub(super) fn value(self) -> f64 {
        self.value
    }

    /// Whether the loss is scaled at all.
    pub(super) fn is_dynamic(self) -> bool {
        self.dynamic
    }

    /// Returns the factor of a sum over `weight` targets: the scale is for a mean, whose gradients are about as large
    /// whatever the size of the batch.
    pub(super) fn of_sum(self, weight: f64) -> f64 {
        if self.dynamic && weight > 0.0 {
            self.value / weight.log2().ceil().exp2()
        } else {
            self.value
        }
    }

    /// Doubles the scale after many finite steps and halves it after one that is not. Returns whether the scale may be the
    /// reason.
    pub(super) fn after(&mut self, finite: bool) -> bool {
        if !self.dynamic {
            return false;
        }
        if finite {
            self.calm += 1;
            if self.calm == GROWS_AFTER {
                *self = Self { value: self.value * 2.0, calm: 0, ..*self };
            }
            return false;
        }
        let blamed = self.value > LEAST;
        *self = Self { value: (self.value / 2.0).max(LEAST), calm: 0, ..*self };
        blamed
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "powers of two are exact")]

    use super::*;

    #[test]
    fn only_halves_are_scaled() {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut scale = Scale::new(precision);
            assert!(!scale.after(false));
            assert_eq!(scale, Scale::new(precision));
        }
    }

    #[test]
    fn a_sum_is_scaled_by_less_than_a_mean() {
        let scale = Scale::new(Precision::F16);
        for (weight, factor) in [(1.0, FIRST), (2.0, FIRST / 2.0), (3.0, FIRST / 4.0), (0.0, FIRST)]
        {
            assert_eq!(scale.of_sum(weight), factor);
        }
        assert_eq!(Scale::new(Precision::F32).of_sum(3.0), 1.0);
    }

    #[test]
    fn the_scale_halves_down_to_one_and_grows_after_calm() {
        let mut scale = Scale::new(Precision::F16);
        for _ in 0..15 {
            assert!(scale.after(false));
        }
        assert_eq!(scale.value(), 1.0);
        assert!(!scale.after(false), "at 1 the numbers themselves are at fault");
        assert_eq!(scale.value(), 1.0);
        for _ in 1..GROWS_AFTER {
            scale.after(true);
        }
        assert_eq!(scale.value(), 1.0);
        scale.after(true);
        assert_eq!(scale.value(), 2.0);
    }
}
