//! The answer to a request as JSON, in the form of `cog run --json`.

use serde_json::{Map, Value, json};

use crate::run::status::Status;

/// The keys of an answer.
const KEYS: [&str; 4] = ["status", "output", "error", "metrics"];

/// Returns the answer of a run that ended.
pub(crate) fn answer(
    status: Status,
    output: &Value,
    error: &str,
    metrics: &Map<String, Value>,
) -> Value {
    json!({"status": status.name(), "output": output, "error": error, "metrics": metrics})
}

/// Returns the answer of a run that succeeded.
pub(super) fn succeeded(output: &Value, metrics: &Map<String, Value>) -> Value {
    answer(Status::Succeeded, output, "", metrics)
}

/// Whether a value has the keys of an answer and no others.
pub(super) fn is_answer(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.keys().eq(KEYS))
}
