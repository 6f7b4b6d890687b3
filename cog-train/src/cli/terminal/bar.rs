//! The progress bar as a line of text that fits the terminal.

use super::values::Values;
use super::words::{BYTES, Progress, STEPS, clock, short, speed_of};
use crate::message::{bar, counted, human, width as columns_of};

/// The least and the most characters of the bar itself.
const BAR: std::ops::RangeInclusive<usize> = 8..=40;

/// Returns the line: as much as fits into `width` columns, the most important first.
pub(super) fn line(what: &str, progress: &Progress, values: &Values, width: usize) -> String {
    let Progress { done, total, .. } = *progress;
    let is_training = what == STEPS;
    let count = match (total, is_training) {
        (0, _) if what == BYTES => human(done),
        (_, _) if what == BYTES => format!("{}/{}", human(done), human(total)),
        (0, true) => counted(done, "step"),
        (0, false) => format!("{done} {what}"),
        (_, true) => format!("{done}/{total}"),
        (..) => format!("{done}/{total} {what}"),
    };
    let of_training = |text: Option<String>| text.filter(|_| is_training);
    let loss = of_training(values.loss.map(|loss| format!("loss {}", short(loss))));
    let rate = of_training(values.learning_rate.map(|rate| format!("lr {}", short(rate))));
    let epoch = of_training(values.epoch.map(|(at, all)| format!("epoch {at}/{all}")));
    let sparks = of_training(values.history.sparkline());
    let speed = progress.speed().map(|speed| speed_of(what, speed));
    let left = progress.left().map(|left| format!("{} left", clock(left)));
    // In the order of the line, with the order in which they are given up.
    let parts =
        [(0, Some(count)), (1, loss), (4, sparks), (3, epoch), (6, rate), (5, speed), (2, left)];
    // The last column stays free: some terminals break a line that fills it.
    let room = width.saturating_sub(1);
    let least = if total > 0 { BAR.start() + 1 } else { 0 };
    let taken = |most: u8| {
        let shown = parts.iter().filter(|(rank, text)| *rank <= most && text.is_some());
        shown.filter_map(|(_, text)| text.as_ref()).map(|it| columns_of(it) + 1).sum::<usize>()
    };
    let most = (0..=6).rev().find(|most| taken(*most) + least <= room + 1).unwrap_or(0);
    let shown = parts.iter().filter(|(rank, _)| *rank <= most).filter_map(|(_, it)| it.as_deref());
    let texts = shown.collect::<Vec<_>>().join(" ");
    let free = room.saturating_sub(columns_of(&texts) + 1).min(*BAR.end());
    if total == 0 || free < *BAR.start() {
        return texts.chars().take(room).collect();
    }
    format!("{} {texts}", bar(done, total, free))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn values() -> Values {
        let mut values =
            Values { learning_rate: Some(2e-4), epoch: Some((1, 3)), ..Values::default() };
        for loss in (0..120).map(|step| 3.0 - 0.01 * f64::from(step)) {
            values.loss = Some(loss);
            values.history.add(loss);
        }
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
    fn a_download_is_in_units_of_bytes() {
        let elapsed = Duration::from_secs(2);
        let progress = Progress { first: 0, done: 5 << 20, total: 9 << 20, elapsed };
        assert_eq!(
            line("bytes", &progress, &values(), 60),
            "█████████████░░░░░░░░░░░ 5.0 MiB/9.0 MiB 2.5 MiB/s 1 s left"
        );
        let progress = Progress { total: 0, ..progress };
        assert_eq!(line("bytes", &progress, &values(), 60), "5.0 MiB 2.5 MiB/s");
    }
}
