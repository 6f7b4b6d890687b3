//! The receiver of everything that a run reports beside its result.

use crate::progress::{Report, Silent};

/// Receives the notes and warnings of a run, and opens the sink for its lines, metrics and progress.
pub(crate) trait Observer {
    /// Shows a line about the run, which is no part of its log.
    fn note(&self, text: &str);

    /// Shows a warning.
    fn warning(&self, text: &str);

    /// Opens a sink for lines, metrics and progress.
    fn report(&self) -> Box<dyn Report>;
}

impl Observer for Silent {
    fn note(&self, _text: &str) {}

    fn warning(&self, _text: &str) {}

    fn report(&self) -> Box<dyn Report> {
        Box::new(Silent)
    }
}
