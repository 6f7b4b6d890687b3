//! Problems of a value before its input is known.

use crate::error::Error;
use crate::input::Problem;

/// The reason for which a value cannot be read.
pub(super) struct Flaw {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Flaw {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the option that the value stands in.
    pub(super) fn of_option(self, option: &str) -> Error {
        let hint = self.hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        Error::Arguments { reason: format!("{option}: {}{hint}", self.message) }
    }

    pub(super) fn of(self, input: &str) -> Problem {
        let problem = Problem::new(input, self.message);
        match self.hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    }
}
