//! The only module that writes to the process's standard output and standard error.
//!
//! The result goes to standard output, everything else to standard error. While a trainer or predictor works, its own
//! `println!` must not mix with the result: [`Terminal::take_stdout`] keeps the real standard output aside and points
//! the process's at standard error.

mod bar;
mod stdout;
mod values;
mod words;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use self::values::Values;
use self::words::{Progress, progress_line};
use crate::progress::{Report, json_number, number_of};
use crate::run::Observer;

/// The format of everything printed: lines for a person, or one JSON object a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// Standard output and standard error, shared by the trainer's thread and the signal thread.
#[derive(Clone)]
pub(crate) struct Terminal(Arc<Mutex<Inner>>);

struct Inner {
    format: Format,
    /// Whether nothing but errors is printed.
    is_silent: bool,
    bar: Option<Bar>,
    stdout: Option<File>,
    /// Without a bar: the progress since its first report.
    plain: Option<Plain>,
    /// The values of a training, for whoever watches.
    values: Values,
    /// The printed pieces of a prediction; `None` when its text is not for standard output.
    streamed: Option<String>,
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

/// Without a terminal, progress is a line now and then, not a stream.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(10);
// The numbers that stand beside the progress.
const LOSS: &str = "loss";
const LEARNING_RATE: &str = "learning_rate";

impl Terminal {
    pub(crate) fn new(format: Format) -> Self {
        Self::with(format, false)
    }

    /// A terminal that prints nothing but errors: that of a rank that follows rank 0.
    pub(crate) fn silent(format: Format) -> Self {
        Self::with(format, true)
    }

    fn with(format: Format, is_silent: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            format,
            is_silent,
            bar: None,
            stdout: None,
            plain: None,
            values: Values::default(),
            streamed: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on `println!` of anybody goes to standard error; [`Terminal::result`] still reaches standard output.
    pub(crate) fn take_stdout(&self) -> io::Result<()> {
        io::stdout().flush()?;
        let real: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        self.inner().stdout = Some(real.into());
        Ok(())
    }

    /// A line of the program's own, on standard error.
    pub(crate) fn note(&self, text: &str) {
        self.inner().line("note", text);
    }

    /// `warning: ...` on standard error.
    pub(crate) fn warning(&self, text: &str) {
        let mut inner = self.inner();
        match inner.format {
            Format::Text => inner.plain(&format!("{}: {text}", paint("33;1", "warning"))),
            Format::Json => inner.line("warning", text),
        }
    }

    /// `error: ...` on standard error.
    pub(crate) fn error(&self, text: &str) {
        let mut inner = self.inner();
        inner.is_silent = false;
        inner.end_streamed_line();
        match inner.format {
            Format::Text => inner.plain(&format!("{}: {text}", paint("31;1", "error"))),
            Format::Json => inner.line("error", text),
        }
    }

    /// Takes the progress bar away, so that what the shell prints next stands on a line of its own.
    pub(crate) fn close(&self) {
        self.inner().clear_bar();
    }
}

impl Report for Terminal {
    fn line(&mut self, text: &str) {
        self.inner().line("line", text);
    }

    fn note(&mut self, text: &str) {
        self.inner().line("note", text);
    }

    fn output(&mut self, piece: &str) {
        let mut inner = self.inner();
        if inner.format == Format::Json {
            inner.plain(&json!({"type": "output", "text": piece}).to_string());
        } else if inner.streamed.is_some() {
            // What could not be written is written again, and its failure reported, with the answer.
            if inner.write_out(piece).is_ok() {
                inner.streamed.get_or_insert_default().push_str(piece);
            }
        }
    }

    fn metric(&mut self, name: &str, step: u64, value: f64) {
        let mut inner = self.inner();
        if name == LOSS {
            inner.values.add_loss(value);
        }
        if inner.format == Format::Json {
            inner.plain(
                &json!({"type": "metric", "step": step, "name": name, "value": json_number(value)})
                    .to_string(),
            );
        }
    }

    fn step(&mut self, step: u64, values: &Map<String, Value>) {
        let mut inner = self.inner();
        if let Some(loss) = values.get(LOSS).and_then(number_of) {
            inner.values.add_loss(loss);
        }
        if let Some(rate) = values.get(LEARNING_RATE).and_then(number_of) {
            inner.values.learning_rate = Some(rate);
        }
        if inner.format == Format::Json {
            let mut line = Map::from_iter([
                ("type".to_owned(), "step".into()),
                ("step".to_owned(), step.into()),
            ]);
            line.extend(values.clone());
            inner.plain(&Value::Object(line).to_string());
        }
    }

    fn epoch(&mut self, epoch: u64, epochs: u64) {
        self.inner().values.epoch = Some((epoch, epochs));
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        self.inner().progress(what, done, total);
    }
}

impl Observer for Terminal {
    fn note(&self, text: &str) {
        Self::note(self, text);
    }

    fn warning(&self, text: &str) {
        Self::warning(self, text);
    }

    fn report(&self) -> Box<dyn Report> {
        Box::new(self.clone())
    }
}

/// Prints an answer on standard output; the exit code.
pub(crate) fn print_answer(terminal: &Terminal, text: &str) -> u8 {
    match terminal.result(text) {
        Ok(()) => 0,
        Err(error) => {
            terminal.error(&format!(
                "cannot write to standard output: {}",
                crate::error::plain_io(&error)
            ));
            1
        }
    }
}

impl Inner {
    fn line(&mut self, kind: &str, text: &str) {
        match self.format {
            Format::Text => self.plain(text),
            Format::Json => self.plain(&json!({"type": kind, "text": text}).to_string()),
        }
    }

    /// Prints a line on standard error, above the bar if there is one. A failure has nowhere to be reported.
    fn plain(&self, text: &str) {
        if self.is_silent {
            return;
        }
        let write = || drop(writeln!(io::stderr().lock(), "{text}"));
        match &self.bar {
            Some(bar) => bar.drawn.suspend(write),
            None => write(),
        }
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        if self.is_silent {
            return;
        }
        if self.format == Format::Json {
            self.plain(
                &json!({"type": "progress", "what": what, "done": done, "total": total})
                    .to_string(),
            );
        } else if io::stderr().is_terminal() {
            self.draw(what, done, total);
        } else {
            self.print_progress(what, done, total);
        }
    }

    /// Prints a line now and then. The first call only starts the clock, so that short work prints nothing.
    fn print_progress(&mut self, what: &str, done: u64, total: u64) {
        let now = Instant::now();
        if self.plain.as_ref().is_none_or(|plain| plain.what != what) {
            self.plain = Some(Plain { what: what.to_owned(), began: (now, done), printed: now });
        }
        let Some(plain) = &mut self.plain else { return };
        if now.duration_since(plain.printed) < PLAIN_PROGRESS_EVERY || (total > 0 && done >= total)
        {
            return;
        }
        plain.printed = now;
        let (began, first) = plain.began;
        let elapsed = now.duration_since(began);
        let progress = Progress { first, done, total, elapsed };
        let line = progress_line(what, &progress, &self.values);
        self.plain(&line);
    }

    fn draw(&mut self, what: &str, done: u64, total: u64) {
        if self.bar.as_ref().is_some_and(|bar| bar.what != what) {
            self.clear_bar();
        }
        let bar = self.bar.get_or_insert_with(|| Bar {
            what: what.to_owned(),
            drawn: ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
                .with_style(style(what, total)),
            began: (Instant::now(), done),
        });
        let (began, first) = bar.began;
        let progress = Progress { first, done, total, elapsed: began.elapsed() };
        if what != BYTES {
            bar.drawn.set_message(bar::line(what, &progress, &self.values, columns()));
        }
        bar.drawn.set_length(total);
        bar.drawn.set_position(done);
        if total > 0 && done >= total {
            self.clear_bar();
        }
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.drawn.finish_and_clear();
        }
        self.plain = None;
    }
}

/// The unit of a download.
const BYTES: &str = "bytes";

/// The columns of the terminal that the bar is on.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

fn style(what: &str, total: u64) -> ProgressStyle {
    ProgressStyle::with_template(match (what, total) {
        (BYTES, 0) => "{spinner} {bytes} {bytes_per_sec}",
        (BYTES, _) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        _ => "{msg}",
    })
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether colours are wanted there: on a terminal that knows them, unless `NO_COLOR` says no.
pub(crate) fn colored(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn paint(code: &str, text: &str) -> String {
    if colored(&io::stderr()) { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
