//! The texts by which Cog names the cause of a failure.

use crate::run::{Kind, Outcome};

/// The failures that the worker reports begin with one of these; all others are the server's own.
pub(crate) const PREFIXES: [&str; 3] =
    ["Prediction failed: ", "Input validation error: ", "Failed to upload output: "];

/// The part of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the author's code was reached.
    Input,
    /// In the author's code.
    Author,
    /// A file of the output cannot be read, or does not fit into an answer.
    Output,
    Upload,
}

/// Returns the text of a failed run.
pub(super) fn failure(outcome: &Outcome, kind: Kind, stage: Stage) -> String {
    let error = outcome.error.as_deref().unwrap_or("unknown error");
    let [author, input, upload] = PREFIXES;
    match (stage, kind) {
        (Stage::Input, _) => format!("{input}{error}"),
        (Stage::Author, Kind::Train) => format!("{author}Training failed: {error}"),
        (Stage::Author, Kind::Predict) => format!("{author}Prediction failed: {error}"),
        (Stage::Output, _) => format!("{author}Failed to process output: {error}"),
        (Stage::Upload, _) => format!("{upload}{error}"),
    }
}
