//! Progress as it is shown: a bar on a terminal, else a line now and then.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::values::Values;
use super::words::{Progress, progress_line};
use super::{bar, fit};

/// Without a terminal, progress is a line now and then, not a stream.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// The progress of the work that was reported last.
#[derive(Default)]
pub(super) struct Shown {
    bar: Option<Bar>,
    /// Without a bar: the progress since its first report.
    plain: Option<Plain>,
}

/// The state behind lines of progress.
struct Plain {
    what: String,
    /// The time of the first report, and the progress then.
    began: (Instant, u64),
    printed: Instant,
}

struct Bar {
    what: String,
    drawn: ProgressBar,
    /// The time of the first report, and the progress then.
    began: (Instant, u64),
}

impl Shown {
    /// Draws the bar, which goes away at the end of the work.
    pub(super) fn draw(&mut self, what: &str, done: u64, total: u64, values: &Values) {
        if self.bar.as_ref().is_some_and(|bar| bar.what != what) {
            self.clear();
        }
        let bar = self.bar.get_or_insert_with(|| Bar {
            what: what.to_owned(),
            drawn: ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
                .with_style(style()),
            began: (Instant::now(), done),
        });
        let (began, first) = bar.began;
        let progress = Progress { first, done, total, elapsed: began.elapsed() };
        bar.drawn.set_message(bar::line(what, &progress, values, columns()));
        bar.drawn.set_length(total);
        bar.drawn.set_position(done);
        if total > 0 && done >= total {
            self.clear();
        }
    }

    /// Returns a line now and then. The first call only starts the clock, so that short work prints nothing.
    pub(super) fn line(
        &mut self,
        what: &str,
        done: u64,
        total: u64,
        values: &Values,
    ) -> Option<String> {
        let now = Instant::now();
        if self.plain.as_ref().is_none_or(|plain| plain.what != what) {
            self.plain = Some(Plain { what: what.to_owned(), began: (now, done), printed: now });
        }
        let plain = self.plain.as_mut()?;
        if now.duration_since(plain.printed) < PLAIN_PROGRESS_EVERY || (total > 0 && done >= total)
        {
            return None;
        }
        plain.printed = now;
        let (began, first) = plain.began;
        let elapsed = now.duration_since(began);
        Some(progress_line(what, &Progress { first, done, total, elapsed }, values))
    }

    /// Calls `write` while the bar, if there is one, is out of the way.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.drawn.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away, and forgets the work.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.drawn.finish_and_clear();
        }
        self.plain = None;
    }
}

/// The columns of the terminal that the bar is on.
fn columns() -> usize {
    fit::columns(&std::io::stderr()).unwrap_or(80)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}
