//! The texts by which Cog names the cause of a failure.

use crate::run::{Kind, Outcome};

/// The failures that the worker reports begin with one of these; all others are the server's own.
pub(crate) const PREFIXES: [&str; 3] =
    ["Prediction failed: ", "Input validation error: ", "Failed to upload output: "];

/// Returns the text of a failed run. `is_prepared` says whether the author's code was reached.
pub(super) fn failure(
    outcome: &Outcome,
    kind: Kind,
    is_prepared: bool,
    is_publishing: bool,
) -> String {
    let error = outcome.error.as_deref().unwrap_or("unknown error");
    let [author, input, upload] = PREFIXES;
    match kind {
        _ if !is_prepared => format!("{input}{error}"),
        _ if is_publishing => format!("{upload}{error}"),
        Kind::Train => format!("{author}Training failed: {error}"),
        Kind::Predict => format!("{author}Prediction failed: {error}"),
    }
}
