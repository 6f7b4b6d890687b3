//! Progress in words, where no bar can be drawn.

use std::fmt::Write;
use std::time::Duration;

/// The unit of a training's progress.
pub(super) const STEPS: &str = "steps";

/// The progress of some work in units.
pub(super) struct Progress {
    /// The units done at the first report.
    pub(super) first: u64,
    pub(super) done: u64,
    /// 0 while it is not known.
    pub(super) total: u64,
    /// The time since the first report.
    pub(super) elapsed: Duration,
    pub(super) loss: Option<f64>,
}

/// `step 120/400, loss 1.25, 3.1 steps/s, 90 s left`.
pub(super) fn progress_line(what: &str, progress: &Progress) -> String {
    let Progress { first, done, total, elapsed, loss } = *progress;
    let one = if what == STEPS { "step" } else { what };
    let mut line = format!("{one} {done}");
    if total > 0 {
        let _ = write!(line, "/{total}");
    }
    if let Some(loss) = loss {
        let _ = write!(line, ", loss {}", short(loss));
    }
    #[expect(clippy::cast_precision_loss, reason = "a speed for a person to read")]
    let speed = done.saturating_sub(first) as f64 / elapsed.as_secs_f64();
    if speed > 0.0 {
        let _ = write!(line, ", {} {what}/s", short(speed));
        if total > done {
            #[expect(clippy::cast_precision_loss, reason = "a time for a person to read")]
            let left = (total - done) as f64 / speed;
            let _ = write!(line, ", {left:.0} s left");
        }
    }
    line
}

/// Four digits that say something.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        size if number == 0.0 || (1e4..1e7).contains(&size) => format!("{number:.0}"),
        size if (1e-2..1e4).contains(&size) => {
            let decimals = if size >= 1e3 {
                0
            } else if size >= 10.0 {
                2
            } else {
                4
            };
            format!("{number:.decimals$}")
        }
        size if size.is_finite() => format!("{number:.3e}"),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_holds_every_known_number() {
        let elapsed = Duration::from_secs(10);
        for (what, at, loss, expected) in [
            (
                "steps",
                (20, 120, 400),
                Some(1.23456),
                "step 120/400, loss 1.2346, 10.00 steps/s, 28 s left",
            ),
            ("steps", (0, 0, 400), None, "step 0/400"),
            ("steps", (0, 5, 0), Some(f64::NAN), "step 5, loss NaN, 0.5000 steps/s"),
            ("steps", (0, 1, 2), Some(1e-5), "step 1/2, loss 1.000e-5, 0.1000 steps/s, 10 s left"),
            ("bytes", (0, 50_000, 100_000), None, "bytes 50000/100000, 5000 bytes/s, 10 s left"),
        ] {
            let (first, done, total) = at;
            let progress = Progress { first, done, total, elapsed, loss };
            assert_eq!(progress_line(what, &progress), expected);
        }
    }
}
