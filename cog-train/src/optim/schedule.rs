//! The learning rate over a run: a pure function of the step.

use std::f64::consts::PI;

use serde::Serialize;

use super::limits::{Limits, Range};
use crate::error::Error;

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

/// The shape of the decay of [`Schedule::WarmupStableDecay`].
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
                let left = match shape {
                    Decay::Linear => 1.0 - decayed,
                    Decay::Cosine => half_cosine(decayed),
                    Decay::OneMinusSqrt => 1.0 - decayed.sqrt(),
                };
                between(floor, if length == 0 { 1.0 } else { left })
            }
            Self::InverseSquareRoot { timescale } => {
                let timescale = float(timescale.max(1));
                (timescale / (float(step) + timescale)).sqrt()
            }
            Self::Warmed { warmup, ref then } => {
                let rising = match warmup {
                    Warmup::Steps(rising) => rising,
                    Warmup::Share(share) => portion(share, steps),
                };
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

/// From 1 to `low` as `left` goes from 1 to 0.
fn between(low: f64, left: f64) -> f64 {
    low + (1.0 - low) * left
}

fn half_cosine(done: f64) -> f64 {
    f64::midpoint(1.0, (PI * done).cos())
}

/// The share of its cycle that a step has done.
fn in_cycle(step: u64, first: u64, factor: u64) -> f64 {
    let (mut begin, mut length) = (0u64, first.max(1));
    if factor <= 1 {
        return ratio(step % length, length);
    }
    // Cycles double at least, so there are 64 at most.
    while let Some(end) = begin.checked_add(length)
        && step >= end
    {
        (begin, length) = (end, length.saturating_mul(factor));
    }
    ratio(step - begin, length)
}

/// PyTorch counts the last step as the end, and the rise as ending one step before its share.
fn one_cycle(step: u64, steps: u64, rise: f64, start: f64, end: f64) -> f64 {
    let (step, last) = (float(step), float(steps) - 1.0);
    let top = (rise.clamp(0.0, 1.0) * float(steps) - 1.0).max(0.0);
    let (from, to, done) = if step <= top {
        (start, 1.0, if top > 0.0 { step / top } else { 1.0 })
    } else {
        (1.0, end, ((step - top) / (last - top)).min(1.0))
    };
    to + (from - to) * half_cosine(done)
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

/// A share of the steps in whole ones.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion from floats ends at the limits"
)]
fn portion(share: f64, steps: u64) -> u64 {
    // NaN becomes 0.
    ((share.clamp(0.0, 1.0) * float(steps)).round() as u64).min(steps)
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
