//! The learning rate over a run: a pure function of the step.

mod curve;
mod decay;
mod warmup;

use serde::Serialize;

use self::curve::{between, float, half_cosine, in_cycle, one_cycle, portion, ratio};
use super::limits::{Limits, Range};
use crate::error::Error;

pub use self::decay::Decay;
pub use self::warmup::Warmup;

/// The learning rate of every step, as a share of the peak.
///
/// A schedule keeps no state: [`at`](Self::at) is a function of the step, so a resumed run continues where it was. The
/// shapes end a run close to their lowest value, which they reach at the step after the last, as PyTorch's do.
///
/// ```
/// use cog_train::engine::{Schedule, Warmup};
///
/// let schedule = Schedule::cosine().warmup(Warmup::Share(0.1));
/// assert!(schedule.at(0, 1000) < 0.01); // rising
/// assert_eq!(schedule.at(100, 1000), 1.0); // the peak
/// assert!((schedule.at(550, 1000) - 0.5).abs() < 1e-9); // half way down
/// assert!(schedule.at(999, 1000) < 1e-5);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// The same at every step.
    Constant,
    /// In a straight line from 1 to `end`: `torch.optim.lr_scheduler.LinearLR`.
    Linear {
        /// The share after the last step.
        end: f64,
    },
    /// Half a cosine from 1 to `floor`: `CosineAnnealingLR` (Loshchilov and Hutter, "SGDR", 2017).
    Cosine {
        /// The share after the last step.
        floor: f64,
    },
    /// Half a cosine again and again: `CosineAnnealingWarmRestarts`.
    CosineRestarts {
        /// The steps of the first cycle.
        first: u64,
        /// Each cycle has this many times the steps of the one before.
        factor: u64,
        /// The share at the end of each cycle.
        floor: f64,
    },
    /// The share of the steps left to a power, from 1 to `end`: `PolynomialLR` with `end` 0, and transformers' schedule.
    Polynomial {
        /// 1 is a straight line.
        power: f64,
        /// The share after the last step.
        end: f64,
    },
    /// Up from `start` to 1 and down to `end` by cosines: `OneCycleLR` (Smith and Topin, "Super-Convergence", 2018).
    OneCycle {
        /// The share of the steps that rise.
        rise: f64,
        /// The share of the learning rate at the first step.
        start: f64,
        /// The share of the learning rate at the last step.
        end: f64,
    },
    /// The peak, then down over the last steps (Hu et al., "`MiniCPM`", 2024). A
    /// [`warmup`](Self::warmup) comes before.
    WarmupStableDecay {
        /// The share of the steps that decay, of those after the warm-up.
        decay: f64,
        /// The shape of the decay.
        shape: Decay,
        /// The share of the learning rate after the last step.
        floor: f64,
    },
    /// `sqrt(timescale / (step + timescale))`, whatever the number of steps: transformers' `inverse_sqrt` (Vaswani et al.,
    /// "Attention Is All You Need", 2017).
    InverseSquareRoot {
        /// A quarter of the peak is left after 15 times these steps. Usually those of the warm-up.
        timescale: u64,
    },
    /// Up in a straight line, and then another schedule over the steps left: [`Schedule::warmup`].
    Warmed {
        /// The length of the warm-up.
        warmup: Warmup,
        /// The schedule after it.
        then: Box<Schedule>,
    },
    /// One after the other: [`Schedule::joined`].
    Joined {
        /// The parts in order.
        parts: Vec<Segment>,
    },
}

/// A part of [`Schedule::Joined`].
///
/// The example of [`Schedule::joined`] has two.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    /// The step, counted from 0, at which the next part begins.
    pub until: u64,
    /// Its steps begin at 0 where the part begins.
    pub schedule: Schedule,
}

impl Schedule {
    /// In a straight line from 1 to 0.
    #[must_use]
    pub fn linear() -> Self {
        Self::Linear { end: 0.0 }
    }

    /// Half a cosine from 1 to 0.
    #[must_use]
    pub fn cosine() -> Self {
        Self::Cosine { floor: 0.0 }
    }

    /// PyTorch's defaults: up over 30 % of the steps from a 25th, and down to a 250 000th.
    #[must_use]
    pub fn one_cycle() -> Self {
        Self::OneCycle { rise: 0.3, start: 1.0 / 25.0, end: 1.0 / 250_000.0 }
    }

    /// Down in a straight line over the last 20 % of the steps.
    #[must_use]
    pub fn warmup_stable_decay() -> Self {
        Self::WarmupStableDecay { decay: 0.2, shape: Decay::Linear, floor: 0.0 }
    }

    /// The same after a warm-up. A warm-up longer than the run rises to its end.
    #[must_use]
    pub fn warmup(self, warmup: Warmup) -> Self {
        Self::Warmed { warmup, then: Box::new(self) }
    }

    /// One after the other: each until a step, counted from 0, that is no longer its own. The steps of each begin at 0,
    /// and the last one lasts to the end of the run, whatever its step.
    ///
    /// ```
    /// use cog_train::engine::Schedule;
    ///
    /// let schedule = Schedule::joined([(100, Schedule::Constant), (500, Schedule::linear())]);
    /// assert_eq!(schedule.at(99, 500), 1.0);
    /// assert_eq!(schedule.at(300, 500), 0.5);
    /// ```
    #[must_use]
    pub fn joined(parts: impl IntoIterator<Item = (u64, Schedule)>) -> Self {
        let parts = parts.into_iter().map(|(until, schedule)| Segment { until, schedule });
        Self::Joined { parts: parts.collect() }
    }

    /// The share of the peak at a step counted from 0 of a run of `steps`. It is never negative and never NaN.
    #[must_use]
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        // `max` takes the other number where one is NaN, so settings without meaning come out as 0.
        self.share(step.min(steps), steps).max(0.0)
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the name and the value of each setting that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        let mut share = |name, number| limits.number(name, number, Range::Share);
        match self {
            Self::Constant => {}
            Self::Linear { end } => share("schedule.end", *end),
            Self::Cosine { floor } => share("schedule.floor", *floor),
            Self::CosineRestarts { first, factor, floor } => {
                share("schedule.floor", *floor);
                limits.at_least("schedule.first", *first, 1);
                limits.at_least("schedule.factor", *factor, 1);
            }
            Self::Polynomial { power, end } => {
                share("schedule.end", *end);
                limits.number("schedule.power", *power, Range::NotNegative);
            }
            Self::OneCycle { rise, start, end } => {
                share("schedule.rise", *rise);
                share("schedule.start", *start);
                share("schedule.end", *end);
            }
            Self::WarmupStableDecay { decay, floor, .. } => {
                share("schedule.decay", *decay);
                share("schedule.floor", *floor);
            }
            Self::InverseSquareRoot { timescale } => {
                limits.at_least("schedule.timescale", *timescale, 1);
            }
            Self::Warmed { warmup, then } => {
                if let Warmup::Share(warmup) = warmup {
                    share("schedule.warmup", *warmup);
                }
                limits.include(then.check());
            }
            Self::Joined { parts } => {
                limits.at_least("schedule.parts", parts.len() as u64, 1);
                // The last part has no end of its own.
                let ends = &parts[..parts.len().saturating_sub(1)];
                limits.require(
                    ends.is_sorted_by(|one, next| one.until < next.until)
                        && ends.first().is_none_or(|first| first.until > 0),
                    || {
                        let ends: Vec<u64> = ends.iter().map(|part| part.until).collect();
                        format!(
                            "`schedule.until` is {ends:?}, expected steps that rise from 1 or more"
                        )
                    },
                );
                for part in parts {
                    limits.include(part.schedule.check());
                }
            }
        }
        limits.finish()
    }

    fn share(&self, step: u64, steps: u64) -> f64 {
        let done = ratio(step, steps);
        match *self {
            Self::Constant => 1.0,
            Self::Linear { end } => 1.0 + (end - 1.0) * done,
            Self::Cosine { floor } => between(floor, half_cosine(done)),
            Self::CosineRestarts { first, factor, floor } => {
                between(floor, half_cosine(in_cycle(step, first, factor)))
            }
            Self::Polynomial { power, end } => between(end, (1.0 - done).powf(power.max(0.0))),
            Self::OneCycle { rise, start, end } => one_cycle(step, steps, rise, start, end),
            Self::WarmupStableDecay { decay, shape, floor } => {
                let length = portion(decay, steps);
                let decayed = ratio(length.saturating_sub(steps - step), length);
                between(floor, if length == 0 { 1.0 } else { shape.left(decayed) })
            }
            Self::InverseSquareRoot { timescale } => {
                let timescale = float(timescale.max(1));
                (timescale / (float(step) + timescale)).sqrt()
            }
            Self::Warmed { warmup, ref then } => {
                let rising = warmup.length(steps);
                if step < rising {
                    then.at(0, steps.saturating_sub(rising)) * float(step + 1)
                        / (float(rising) + 1.0)
                } else {
                    then.at(step - rising, steps.saturating_sub(rising))
                }
            }
            Self::Joined { ref parts } => joined(parts, step, steps),
        }
    }

    /// The schedule as JSON, for records and for the comparison on resume.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        // Numbers and strings always serialize.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn joined(parts: &[Segment], step: u64, steps: u64) -> f64 {
    let mut begin = 0;
    for (number, Segment { until, schedule }) in parts.iter().enumerate() {
        let last = number + 1 == parts.len();
        if step < *until || last {
            let end = if last { steps } else { *until };
            return schedule.at(step.saturating_sub(begin), end.saturating_sub(begin));
        }
        begin = *until;
    }
    1.0
}

#[cfg(test)]
mod tests;
