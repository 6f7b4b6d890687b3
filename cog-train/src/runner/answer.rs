//! How a training or a prediction answers: its output, its error and its numbers, for a person or as JSON.

use serde_json::{Map, Value, json};

use super::error_text;
use super::outputs::Written;
use super::roles::{Kind, Role};
use super::run::Status;
use super::terminal::Format;
use crate::error::Error;

/// What a run leaves: the files, the value, the numbers.
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) written: Option<Written>,
    pub(crate) error: Option<String>,
    pub(crate) metrics: Map<String, Value>,
    pub(crate) code: u8,
    /// How to go on, for a person.
    pub(crate) note: Option<String>,
}

impl Answer {
    pub(crate) fn failed(error: &anyhow::Error, metrics: Map<String, Value>) -> Self {
        let code = crate::error::find(error).map_or(1, Error::exit_code);
        Self {
            status: Status::of(error),
            written: None,
            error: Some(error_text(error)),
            metrics,
            code,
            note: None,
        }
    }

    pub(crate) fn succeeded(written: Written, metrics: Map<String, Value>) -> Self {
        Self {
            status: Status::Succeeded,
            written: Some(written),
            error: None,
            metrics,
            code: 0,
            note: None,
        }
    }

    /// The answer as JSON: the place and value of the output.
    pub(crate) fn output(&self) -> &Value {
        self.written.as_ref().map_or(&Value::Null, |written| &written.value)
    }

    /// What goes to standard output.
    pub(crate) fn text(&self, format: Format, role: &Role) -> String {
        if format == Format::Json {
            let output = self.output();
            let error = self.error.as_deref().unwrap_or_default();
            let answer = json!({
                "status": self.status.name(), "output": output, "error": error, "metrics": self.metrics,
            });
            return format!("{answer}\n");
        }
        match &self.written {
            None => String::new(),
            Some(written) if written.paths.is_empty() => match &written.value {
                Value::String(text) => format!("{text}\n"),
                Value::Object(_) | Value::Array(_) => format!("{:#}\n", written.value),
                other => format!("{other}\n"),
            },
            Some(written) => format!("{}\n", sentence(written, role.kind)),
        }
    }
}

/// `weights/ (final_loss 1.25, steps 120)`: where the result is, and the numbers beside it.
fn sentence(written: &Written, kind: Kind) -> String {
    let places: Vec<String> = written
        .paths
        .iter()
        .map(|path| format!("{}{}", path.display(), if path.is_dir() { "/" } else { "" }))
        .collect();
    let values: Vec<String> = match &written.value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| value.is_number() || value.is_boolean())
            .map(|(name, value)| format!("{name} {}", short(value)))
            .collect(),
        _ => Vec::new(),
    };
    let verb = if kind == Kind::Train { "trained" } else { "predicted" };
    let beside =
        if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
    format!("{verb}: {}{beside}", places.join(", "))
}

/// A number as a person reads it: four digits after the point are enough, and `output.json` has them all.
fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(float) if !value.is_f64() || float == 0.0 => value.to_string(),
        Some(float) if (1e-2..1e6).contains(&float.abs()) => {
            format!("{float:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Some(float) => format!("{float:.3e}"),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_lose_their_size() {
        for (value, text) in [
            (json!(0.584_171_479), "0.5842"),
            (json!(2.0), "2"),
            (json!(5e-5), "5.000e-5"),
            (json!(123_456_789.5), "1.235e8"),
            (json!(100), "100"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(0.0), "0.0"),
            (json!(true), "true"),
        ] {
            assert_eq!(short(&value), text);
        }
    }
}
