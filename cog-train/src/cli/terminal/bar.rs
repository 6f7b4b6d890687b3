//! The progress bar as a line of text that fits the terminal.

use std::time::Duration;

use super::words::{Progress, STEPS, short};

/// The levels of a sparkline, the lowest first.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The values that a sparkline keeps, and its characters.
const KEPT: usize = 64;
const SPARKS: usize = 16;
/// The least and the most characters of the bar itself.
const BAR: std::ops::RangeInclusive<usize> = 8..=40;

/// The values of a training beside its progress.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) loss: Option<f64>,
    pub(super) learning_rate: Option<f64>,
    /// The epoch, counted from 1, and the number of them.
    pub(super) epoch: Option<(u64, u64)>,
    pub(super) history: History,
}

impl Values {
    /// Takes the loss of a step.
    pub(super) fn add_loss(&mut self, loss: f64) {
        self.loss = Some(loss);
        self.history.add(loss);
    }
}

/// The losses of the whole run so far, each the mean of equally many steps.
#[derive(Debug, Default)]
pub(super) struct History {
    means: Vec<f64>,
    /// The steps of a mean, and the sum and the number of those that are not one yet.
    width: u32,
    sum: f64,
    count: u32,
}

impl History {
    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.sum += value;
        self.count += 1;
        if self.count < self.width.max(1) {
            return;
        }
        self.means.push(self.sum / f64::from(self.count));
        (self.sum, self.count) = (0.0, 0);
        if self.means.len() == KEPT {
            self.means = self.means.chunks(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect();
            self.width = self.width.max(1) * 2;
        }
    }

    /// Draws the losses in at most `SPARKS` characters. `None` before there are two.
    fn sparkline(&self) -> Option<String> {
        let count = self.means.len();
        if count < 2 {
            return None;
        }
        let sparks = count.min(SPARKS);
        let mean = |at: usize| {
            let part = &self.means[at * count / sparks..(at + 1) * count / sparks];
            #[expect(clippy::cast_precision_loss, reason = "some dozens")]
            let length = part.len() as f64;
            part.iter().sum::<f64>() / length
        };
        let means: Vec<f64> = (0..sparks).map(mean).collect();
        let low = means.iter().copied().fold(f64::INFINITY, f64::min);
        let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a level from 0 to 7"
        )]
        let level = |mean: &f64| match high - low {
            range if range > 0.0 => ((mean - low) / range * 7.0).round() as usize,
            _ => 0,
        };
        Some(means.iter().map(|mean| LEVELS[level(mean).min(7)]).collect())
    }
}

/// Returns the line: as much as fits into `width` columns, the most important first.
pub(super) fn line(what: &str, progress: &Progress, values: &Values, width: usize) -> String {
    let Progress { done, total, .. } = *progress;
    let is_training = what == STEPS;
    let count = match (total, is_training) {
        (0, true) => format!("{done} steps"),
        (0, false) => format!("{done} {what}"),
        (_, true) => format!("{done}/{total}"),
        (..) => format!("{done}/{total} {what}"),
    };
    let of_training = |text: Option<String>| text.filter(|_| is_training);
    let loss = of_training(values.loss.map(|loss| format!("loss {}", short(loss))));
    let rate = of_training(values.learning_rate.map(|rate| format!("lr {}", short(rate))));
    let epoch = of_training(values.epoch.map(|(at, all)| format!("epoch {at}/{all}")));
    let sparks = of_training(values.history.sparkline());
    let speed = progress.speed().map(|speed| format!("{}/s", short(speed)));
    let left = progress.left().map(|left| format!("{} left", clock(left)));
    // In the order of the line, with the order in which they are given up.
    let parts =
        [(0, Some(count)), (1, loss), (4, sparks), (3, epoch), (6, rate), (5, speed), (2, left)];
    // The last column stays free: some terminals break a line that fills it.
    let room = width.saturating_sub(1);
    let bar = if total > 0 { BAR.start() + 1 } else { 0 };
    let taken = |most: u8| {
        let shown = parts.iter().filter(|(rank, text)| *rank <= most && text.is_some());
        shown.filter_map(|(_, text)| text.as_ref()).map(|it| it.chars().count() + 1).sum::<usize>()
    };
    let most = (0..=6).rev().find(|most| taken(*most) + bar <= room + 1).unwrap_or(0);
    let shown = parts.iter().filter(|(rank, _)| *rank <= most).filter_map(|(_, it)| it.as_deref());
    let texts = shown.collect::<Vec<_>>().join(" ");
    let free = room.saturating_sub(texts.chars().count() + 1).min(*BAR.end());
    if total == 0 || free < *BAR.start() {
        return texts.chars().take(room).collect();
    }
    format!("{} {texts}", bar_of(done, total, free))
}

fn bar_of(done: u64, total: u64, width: usize) -> String {
    let full = u128::from(done.min(total)) * width as u128 / u128::from(total.max(1));
    let full = usize::try_from(full).unwrap_or(width);
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
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

    fn values() -> Values {
        let mut values =
            Values { learning_rate: Some(2e-4), epoch: Some((1, 3)), ..Values::default() };
        (0..120).for_each(|step| values.add_loss(3.0 - 0.01 * f64::from(step)));
        values
    }

    fn at(width: usize) -> String {
        let elapsed = Duration::from_secs(40);
        let progress = Progress { first: 0, done: 120, total: 400, elapsed };
        line("steps", &progress, &values(), width)
    }

    #[test]
    fn a_line_fits_and_keeps_what_matters_most() {
        for width in 1..=220 {
            let line = at(width);
            assert!(line.chars().count() < width.max(1) || line.is_empty(), "{width}: {line}");
            if width > 8 {
                assert!(line.contains("120/400"), "{width}: {line}");
            }
        }
        assert_eq!(at(40), "██░░░░░░░ 120/400 loss 1.8100 1:33 left");
        let wide = "120/400 loss 1.8100 ██▇▇▆▆▅▅▄▄▃▃▂▂▁▁ epoch 1/3 lr 2.000e-4 3.0000/s 1:33 left";
        let line = at(200);
        assert!(line.starts_with("████████████░░░░") && line.ends_with(wide), "{line}");
    }

    #[test]
    fn without_a_total_there_is_no_bar_and_no_time_left() {
        let elapsed = Duration::from_secs(2);
        let progress = Progress { first: 0, done: 5, total: 0, elapsed };
        assert_eq!(line("steps", &progress, &Values::default(), 80), "5 steps 2.5000/s");
        assert_eq!(line("rows", &progress, &values(), 80), "5 rows 2.5000/s");
    }

    #[test]
    fn a_sparkline_is_of_the_whole_run_and_of_finite_losses() {
        let mut history = History::default();
        history.add(f64::NAN);
        assert_eq!(history.sparkline(), None);
        for step in 0..100_000 {
            history.add(if step < 50_000 { 1.0 } else { 0.0 });
        }
        assert!(history.means.len() < KEPT);
        let line = history.sparkline().unwrap();
        assert!(line.starts_with("██████") && line.ends_with("▁▁▁▁▁▁"), "{line}");
        let mut flat = History::default();
        (0..4).for_each(|_| flat.add(2.0));
        assert_eq!(flat.sparkline().unwrap(), "▁▁▁▁");
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1:00"), (3661, "1:01:01")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
