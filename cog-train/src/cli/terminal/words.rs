//! Progress in words, where no bar can be drawn.

use std::fmt::Write;
use std::time::Duration;

use super::values::Values;
use crate::message::human;

/// The unit of a training's progress.
pub(super) const STEPS: &str = "steps";
/// The unit of a download.
pub(super) const BYTES: &str = "bytes";

/// The progress of some work in units.
pub(super) struct Progress {
    /// The units done at the first report.
    pub(super) first: u64,
    pub(super) done: u64,
    /// 0 while it is not known.
    pub(super) total: u64,
    /// The time since the first report.
    pub(super) elapsed: Duration,
}

impl Progress {
    /// Returns the units in a second; `None` before it is known.
    pub(super) fn speed(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a speed for a person to read")]
        let speed = self.done.saturating_sub(self.first) as f64 / self.elapsed.as_secs_f64();
        (speed > 0.0 && speed.is_finite()).then_some(speed)
    }

    /// Returns the time that the rest takes at this speed.
    pub(super) fn left(&self) -> Option<Duration> {
        let rest = self.total.checked_sub(self.done).filter(|rest| *rest > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a time for a person to read")]
        let seconds = rest as f64 / self.speed()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// `step 120/400, epoch 1/3, loss 1.25, learning rate 2.000e-4, 3.1 steps/s, 90 s left`.
pub(super) fn progress_line(what: &str, progress: &Progress, values: &Values) -> String {
    let count = |count: u64| if what == BYTES { human(count) } else { count.to_string() };
    let one = if what == STEPS { "step" } else { what };
    let mut line = format!("{one} {}", count(progress.done));
    if progress.total > 0 {
        let _ = write!(line, "/{}", count(progress.total));
    }
    if what == STEPS {
        if let Some((epoch, epochs)) = values.epoch {
            let _ = write!(line, ", epoch {epoch}/{epochs}");
        }
        if let Some(loss) = values.loss {
            let _ = write!(line, ", loss {}", short(loss));
        }
        if let Some(rate) = values.learning_rate {
            let _ = write!(line, ", learning rate {}", short(rate));
        }
    }
    if let Some(speed) = progress.speed() {
        match what {
            BYTES => drop(write!(line, ", {}", speed_of(what, speed))),
            _ => drop(write!(line, ", {} {what}/s", short(speed))),
        }
    }
    if let Some(left) = progress.left() {
        let _ = write!(line, ", {} left", clock(left));
    }
    line
}

/// `2.5000/s`, and of bytes `2.5 MiB/s`.
pub(super) fn speed_of(what: &str, speed: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a speed to read")]
    match what {
        BYTES => format!("{}/s", human(speed as u64)),
        _ => format!("{}/s", short(speed)),
    }
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

/// `28 s`, `3:05`, `1:02:33`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
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
            (
                "bytes",
                (0, 50_000, 100_000),
                Some(1.0),
                "bytes 48.8 KiB/97.7 KiB, 4.9 KiB/s, 10 s left",
            ),
        ] {
            let (first, done, total) = at;
            let progress = Progress { first, done, total, elapsed };
            let values = Values { loss, ..Values::default() };
            assert_eq!(progress_line(what, &progress, &values), expected);
        }
        let progress = Progress { first: 0, done: 10, total: 7210, elapsed };
        let values = Values { epoch: Some((1, 3)), learning_rate: Some(2e-4), ..Values::default() };
        assert_eq!(
            progress_line("steps", &progress, &values),
            "step 10/7210, epoch 1/3, learning rate 2.000e-4, 1.0000 steps/s, 2:00:00 left"
        );
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1:00"), (3661, "1:01:01")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
