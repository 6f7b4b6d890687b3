//! The values of a training that stand beside its progress.

/// The levels of a sparkline, the lowest first.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The values that a sparkline keeps, and its characters.
const KEPT: usize = 64;
const SPARKS: usize = 16;

/// The values of a training beside its progress.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) loss: Option<f64>,
    pub(super) learning_rate: Option<f64>,
    /// The epoch, counted from 1, and the number of them.
    pub(super) epoch: Option<(u64, u64)>,
    /// The losses so far, for the sparkline of a bar.
    pub(super) history: History,
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
    /// Takes the loss of a step.
    pub(super) fn add(&mut self, value: f64) {
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
    pub(super) fn sparkline(&self) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
