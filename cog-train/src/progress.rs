//! What long work tells and asks: [`CancelToken`] to stop it, [`Report`] to show how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::error::Error;

/// Asks a run to stop. Clones share one flag, which any thread may set or read.
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
    /// A token that nobody has cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end. It cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// [`Error::Cancelled`] when the end was asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Where a run's lines, numbers and progress go: a terminal, a server, a test.
pub trait Report {
    /// One line of text, without its newline.
    fn line(&mut self, text: &str);

    /// A line of the program's own, which is no part of the run's log.
    fn note(&mut self, text: &str) {
        self.line(text);
    }

    /// A number at a step.
    fn metric(&mut self, name: &str, step: u64, value: f64);

    /// All numbers of a step at once.
    fn step(&mut self, step: u64, values: &Map<String, Value>) {
        for (name, value) in values {
            if let Some(number) = number_of(value) {
                self.metric(name, step, number);
            }
        }
    }

    /// `done` of `total` units of `what` (`"steps"`, `"bytes"`); `total` is 0 while it is not known.
    fn progress(&mut self, what: &str, done: u64, total: u64);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Report for Silent {
    fn line(&mut self, _text: &str) {}
    fn metric(&mut self, _name: &str, _step: u64, _value: f64) {}
    fn progress(&mut self, _what: &str, _done: u64, _total: u64) {}
}

/// A number as JSON. JSON has no number for what is not finite: those are `"NaN"`, `"Infinity"` and `"-Infinity"`.
pub(crate) fn json_number(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else if value.is_nan() {
        Value::from("NaN")
    } else {
        Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

/// The number that [`json_number`] wrote; `None` for what it did not write.
pub(crate) fn number_of(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}
