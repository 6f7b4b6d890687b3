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
    let error = remedied(outcome.error.as_deref().unwrap_or("unknown error"));
    let [author, input, upload] = PREFIXES;
    match (stage, kind) {
        (Stage::Input, _) => format!("{input}{error}"),
        (Stage::Author, Kind::Train) => format!("{author}Training failed: {error}"),
        (Stage::Author, Kind::Predict) => format!("{author}Prediction failed: {error}"),
        (Stage::Output, _) => format!("{author}Failed to process output: {error}"),
        (Stage::Upload, _) => format!("{upload}{error}"),
    }
}

/// Replaces the hints that name options of the command line by what a client can do.
fn remedied(error: &str) -> String {
    let inputs_changed = error.contains("its inputs have changed\n");
    let remedied = |line: &str| {
        let (indent, Some(hint)) = hint_of(line) else { return line.to_owned() };
        let remedy = if hint.starts_with("`--resume=force`") && inputs_changed {
            "a PUT of the inputs that it began with resumes it; another id starts over"
        } else if hint.starts_with("`--resume=force`") {
            "another id starts over"
        } else if hint.starts_with("give it again with `-i ") {
            "give it again in `input`"
        } else {
            return line.to_owned();
        };
        format!("{indent}hint: {remedy}")
    };
    error.split('\n').map(remedied).collect::<Vec<_>>().join("\n")
}

/// Splits a line into its indentation and its hint, if it is one.
fn hint_of(line: &str) -> (&str, Option<&str>) {
    let text = line.trim_start();
    (&line[..line.len() - text.len()], text.strip_prefix("hint: "))
}
