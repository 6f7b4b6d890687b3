//! The distribution of a tensor's elements.

use serde_json::{Value, json};

/// The bins of a histogram.
const BINS: usize = 40;

/// The elements of a tensor, counted in bins of equal width.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// The least and the greatest element.
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) counts: Vec<u64>,
    pub(super) sum: f64,
    pub(super) sum_of_squares: f64,
    /// Elements that are NaN or infinite, which no bin has.
    pub(super) not_finite: u64,
}

impl Histogram {
    pub(super) fn of(values: &[f32]) -> Self {
        let finite = || values.iter().map(|value| f64::from(*value)).filter(|it| it.is_finite());
        let not_finite = (values.len() - finite().count()) as u64;
        let least = finite().fold(f64::INFINITY, f64::min);
        let greatest = finite().fold(f64::NEG_INFINITY, f64::max);
        let (from, to) = if least <= greatest { (least, greatest) } else { (0.0, 0.0) };
        let mut counts = vec![0; if to > from { BINS } else { 1 }];
        let highest = counts.len() - 1;
        for value in finite() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a number of bins, from 0 on"
            )]
            let bin = if highest == 0 {
                0
            } else {
                ((value - from) / (to - from) * BINS as f64) as usize
            };
            counts[bin.min(highest)] += 1;
        }
        let (sum, sum_of_squares) = (finite().sum(), finite().map(|value| value * value).sum());
        Self { from, to, counts, sum, sum_of_squares, not_finite }
    }

    /// Returns the upper limits of the bins.
    pub(super) fn limits(&self) -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "some dozens")]
        let limit = |at: usize| {
            self.from + (self.to - self.from) * (at + 1) as f64 / self.counts.len() as f64
        };
        (0..self.counts.len()).map(limit).collect()
    }

    pub(super) fn line(&self, name: &str, step: u64) -> Value {
        let mut line = json!({
            "step": step, "name": name, "histogram": self.counts, "from": self.from, "to": self.to,
        });
        if self.not_finite > 0 {
            line["not_finite"] = self.not_finite.into();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_element_is_in_one_bin() {
        let values: Vec<f32> = (0..1000u16).map(|at| f32::from(at) / 999.0 * 4.0 - 2.0).collect();
        let found = Histogram::of(&values);
        assert_eq!((found.from, found.to, found.counts.len()), (-2.0, 2.0, BINS));
        assert_eq!(found.counts.iter().sum::<u64>(), 1000);
        assert!(found.counts.iter().all(|count| (24..=26).contains(count)), "{found:?}");
        assert_eq!(found.limits().last(), Some(&2.0));
        assert!(found.sum.abs() < 1e-3);
    }

    #[test]
    fn elements_that_are_equal_or_not_finite_are_counted() {
        let found = Histogram::of(&[3.0, f32::NAN, 3.0, f32::INFINITY]);
        assert_eq!((found.counts.as_slice(), found.from, found.not_finite), (&[2][..], 3.0, 2));
        assert_eq!(found.line("x", 1)["not_finite"], 2);
        let none = Histogram::of(&[]);
        assert_eq!((none.counts.as_slice(), none.not_finite), (&[0][..], 0));
    }
}
