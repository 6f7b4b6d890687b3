//! The curves of schedules, as functions of the steps.

use std::f64::consts::PI;

/// From 1 to `low` as `left` goes from 1 to 0.
pub(super) fn between(low: f64, left: f64) -> f64 {
    low + (1.0 - low) * left
}

pub(super) fn half_cosine(done: f64) -> f64 {
    f64::midpoint(1.0, (PI * done).cos())
}

/// The share of its cycle that a step has done.
pub(super) fn in_cycle(step: u64, first: u64, factor: u64) -> f64 {
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
pub(super) fn one_cycle(step: u64, steps: u64, rise: f64, start: f64, end: f64) -> f64 {
    let (step, last) = (float(step), float(steps) - 1.0);
    let top = (rise.clamp(0.0, 1.0) * float(steps) - 1.0).max(0.0);
    let (from, to, done) = if step <= top {
        (start, 1.0, if top > 0.0 { step / top } else { 1.0 })
    } else {
        (1.0, end, ((step - top) / (last - top)).min(1.0))
    };
    to + (from - to) * half_cosine(done)
}

/// A share of the steps in whole ones.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion from floats ends at the limits"
)]
pub(super) fn portion(share: f64, steps: u64) -> u64 {
    // NaN becomes 0.
    ((share.clamp(0.0, 1.0) * float(steps)).round() as u64).min(steps)
}

pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}
