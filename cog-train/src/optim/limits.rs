//! The ranges of settings: each number is checked by its name before the first step.

use crate::error::Error;

/// The range of a setting. None of them is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Any number.
    Finite,
    /// 0 or more.
    NotNegative,
    /// More than 0.
    Positive,
    /// 0 or less.
    NotPositive,
    /// From 0 to 1.
    Share,
    /// From 0 to below 1.
    Decay,
}

impl Range {
    fn contains(self, number: f64) -> bool {
        number.is_finite()
            && match self {
                Self::Finite => true,
                Self::NotNegative => number >= 0.0,
                Self::Positive => number > 0.0,
                Self::NotPositive => number <= 0.0,
                Self::Share => (0.0..=1.0).contains(&number),
                Self::Decay => (0.0..1.0).contains(&number),
            }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Finite => "a number",
            Self::NotNegative => "a number of 0 or more",
            Self::Positive => "a number above 0",
            Self::NotPositive => "a number of 0 or less",
            Self::Share => "a number from 0 to 1",
            Self::Decay => "a number from 0 to below 1",
        }
    }
}

/// Gathers the settings that are out of range, so that one error names all of them.
#[derive(Debug, Default)]
pub(crate) struct Limits(Vec<String>);

impl Limits {
    /// Checks a number.
    pub(crate) fn number(&mut self, name: &str, number: f64, range: Range) {
        self.require(range.contains(number), || {
            format!("`{name}` is {number}, expected {}", range.text())
        });
    }

    /// Checks a count.
    pub(crate) fn at_least(&mut self, name: &str, count: u64, least: u64) {
        self.require(count >= least, || format!("`{name}` is {count}, expected {least} or more"));
    }

    /// Takes note of a mistake unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, mistake: impl FnOnce() -> String) {
        if !holds {
            self.0.push(mistake());
        }
    }

    /// Adds the mistakes of a check of its own.
    pub(crate) fn include(&mut self, checked: Result<(), Error>) {
        if let Err(error) = checked {
            self.0.push(error.to_string());
        }
    }

    /// [`Error::InvalidConfig`] with all mistakes, a line each.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::InvalidConfig { reason: self.0.join("\n") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_ends_and_nothing_that_is_not_finite() {
        use Range::{Decay, Finite, NotNegative, NotPositive, Positive, Share};
        for (range, inside, outside) in [
            (Finite, &[-1e300, 0.0, 1e300][..], &[][..]),
            (NotNegative, &[0.0, 7.0], &[-1e-9]),
            (Positive, &[1e-300, 7.0], &[0.0, -1.0]),
            (NotPositive, &[0.0, -7.0], &[1e-9]),
            (Share, &[0.0, 1.0], &[-1e-9, 1.000_001]),
            (Decay, &[0.0, 0.999], &[1.0, -1e-9]),
        ] {
            assert!(inside.iter().all(|number| range.contains(*number)), "{range:?}");
            assert!(!outside.iter().any(|number| range.contains(*number)), "{range:?}");
            for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert!(!range.contains(number), "{range:?} {number}");
            }
        }
    }

    #[test]
    fn one_error_names_every_mistake_with_its_value() {
        let mut limits = Limits::default();
        limits.number("beta1", 1.5, Range::Decay);
        limits.number("epsilon", 1e-8, Range::NotNegative);
        limits.at_least("epochs", 0, 1);
        assert_eq!(
            limits.finish().unwrap_err().to_string(),
            "`beta1` is 1.5, expected a number from 0 to below 1\n`epochs` is 0, expected 1 or more"
        );
        Limits::default().finish().unwrap();
    }
}
