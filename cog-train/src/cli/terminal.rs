//! The only module that writes to the process's standard output and standard error.
//!
//! The result goes to standard output, everything else to standard error. While a trainer or predictor works, its own
//! `println!` must not mix with the result: [`Terminal::take_stdout`] keeps the real standard output aside and points
//! the process's at standard error.

mod bar;
#[cfg(feature = "cli")]
mod bold;
mod fit;
mod shown;
mod stdout;
mod values;
mod words;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

#[cfg(feature = "cli")]
pub(crate) use self::bold::table_text;
use self::shown::Shown;
use self::values::Values;
use crate::progress::{Report, json_number, number_of};
use crate::run::Observer;
use crate::table::Table;

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
    /// Whether progress is drawn: for a person at a terminal.
    draws: bool,
    progress: Shown,
    stdout: Option<File>,
    /// The values of a training, for whoever watches.
    values: Values,
    /// The printed pieces of a prediction; `None` when its text is not for standard output.
    streamed: Option<String>,
}

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
            draws: format == Format::Text && !is_silent && is_smart(&io::stderr()),
            progress: Shown::default(),
            stdout: None,
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

    /// A label with a text, on one line of standard error where a terminal has room for both.
    pub(crate) fn labelled(&self, label: &str, text: &str) {
        self.note(&fit::labelled(label, text, fit::columns(&io::stderr())));
    }

    /// A label with a command of a shell, on one line of standard error where a terminal has room for both.
    pub(crate) fn command(&self, label: &str, text: &str) {
        self.note(&fit::command(label, text, fit::columns(&io::stderr())));
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
        self.inner().progress.clear();
    }
}

impl Report for Terminal {
    fn line(&mut self, text: &str) {
        self.inner().line("line", text);
    }

    fn note(&mut self, text: &str) {
        self.inner().line("note", text);
    }

    fn table(&mut self, table: &Table) {
        let mut inner = self.inner();
        let columns = match inner.format {
            Format::Text => fit::columns(&io::stderr()),
            Format::Json => None,
        };
        table.lines(columns).iter().for_each(|line| inner.line("line", line));
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
            inner.add_loss(value);
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
            inner.add_loss(loss);
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
        self.progress.suspend(|| drop(writeln!(io::stderr().lock(), "{text}")));
    }

    fn add_loss(&mut self, loss: f64) {
        self.values.loss = Some(loss);
        if self.draws {
            self.values.history.add(loss);
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
        } else if self.draws {
            self.progress.draw(what, done, total, &self.values);
        } else if let Some(line) = self.progress.line(what, done, total, &self.values) {
            self.plain(&line);
        }
    }
}

/// Whether colours are wanted there: on a terminal that knows them, unless `NO_COLOR` says no.
pub(crate) fn colored(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_smart(stream) && !refused
}

/// Whether it is a terminal that obeys escape codes.
fn is_smart(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn paint(code: &str, text: &str) -> String {
    if colored(&io::stderr()) { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
