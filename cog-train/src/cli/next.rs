//! The two lines for a person who goes on: the report to open, the command that tries the result.

use std::io::{IsTerminal, stderr};

use super::terminal::{Format, Terminal};
use crate::report::REPORT;
use crate::run::{Outcome, shown};

/// Prints where a run's report is and the command that tries its result. A pipe and a log get the answer alone.
pub(super) fn show(terminal: &Terminal, format: Format, outcome: &Outcome) {
    if format != Format::Text || !stderr().is_terminal() {
        return;
    }
    if let Some(dir) = outcome.run_dir.as_deref() {
        terminal.labelled("report", &shown(&dir.join(REPORT)));
    }
    if let Some(next) = &outcome.next {
        terminal.command("try it", next);
    }
}
