//! Communication with long-running work: [`CancelToken`] cancels it, [`Report`] receives its progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::error::Error;
use crate::table::Table;

/// Cancels a run. Clones share one flag, which any thread may set and read.
///
/// ```
/// let token = cog_train::CancelToken::new();
/// let copy = token.clone();
/// std::thread::spawn(move || copy.cancel()).join().unwrap();
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Creates a token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the run, irrevocably.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the run is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Fails when the run is cancelled.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// The way in which [`Job::record`](crate::Job::record) joins a value with the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The new value stands.
    Replace,
    /// The numbers are added.
    Increment,
    /// The values form a list.
    Append,
}

/// A receiver of a run's lines, metrics and progress: a terminal, a server, a test.
pub trait Report {
    /// Receives a line of text, without its newline.
    fn line(&mut self, text: &str);

    /// Receives a line of the program's own, which is not part of the run's log.
    fn note(&mut self, text: &str) {
        self.line(text);
    }

    /// Receives a table, which a terminal lays out in its width. By default its lines arrive as [`line`](Self::line)s.
    #[doc(hidden)]
    fn table(&mut self, table: &Table) {
        table.lines(None).iter().for_each(|line| self.line(line));
    }

    /// Receives a piece of a prediction's text as soon as it is known. The prediction's output has all of it.
    fn output(&mut self, _piece: &str) {}

    /// Receives a metric's value at a step.
    fn metric(&mut self, name: &str, step: u64, value: f64);

    /// Receives all metrics of a step at once.
    fn step(&mut self, step: u64, values: &Map<String, Value>) {
        for (name, value) in values {
            if let Some(number) = number_of(value) {
                self.metric(name, step, number);
            }
        }
    }

    /// Receives a value for the `metrics` of the answer.
    fn record(&mut self, _name: &str, _value: &Value, _mode: Record) {}

    /// Receives the number of the epoch in progress, counted from 1, and of all epochs.
    fn epoch(&mut self, _epoch: u64, _epochs: u64) {}

    /// Receives the progress: `done` of `total` units (`"steps"`, `"bytes"`). `total` is 0 while it is unknown.
    fn progress(&mut self, unit: &str, done: u64, total: u64);
}

/// A [`Report`] that discards everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Report for Silent {
    fn line(&mut self, _text: &str) {}
    fn metric(&mut self, _name: &str, _step: u64, _value: f64) {}
    fn progress(&mut self, _unit: &str, _done: u64, _total: u64) {}
}

/// Converts a number to JSON, which has none that is not finite: those are `"NaN"`, `"Infinity"` and `"-Infinity"`.
pub(crate) fn json_number(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else if value.is_nan() {
        Value::from("NaN")
    } else {
        Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

/// Converts the output of [`json_number`] back to a number; `None` for any other value.
pub(crate) fn number_of(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}
