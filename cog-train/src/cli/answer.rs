//! The answer of a training or a prediction: its output, its error and its scalars, for a person or as JSON.

use serde_json::Value;

use super::terminal::Format;
use crate::error::Error;
use crate::message::{width, wrapped};
use crate::run::{Kind, Outcome, Published, answer};

/// Returns the exit code of an outcome.
pub(crate) fn exit_code(outcome: &Outcome) -> u8 {
    match &outcome.result {
        Ok(_) => 0,
        Err(error) => crate::error::find(error).map_or(1, Error::exit_code),
    }
}

/// Returns the answer for standard output, which is a terminal of so many columns.
pub(crate) fn text(
    outcome: &Outcome,
    format: Format,
    kind: Kind,
    columns: Option<usize>,
) -> String {
    if format == Format::Json {
        let error = outcome.error.as_deref().unwrap_or_default();
        let answer = answer(outcome.status(), outcome.output(), error, &outcome.metrics);
        return format!("{answer}\n");
    }
    match &outcome.result {
        Err(_) | Ok(None) => String::new(),
        Ok(Some(published)) if published.paths.is_empty() => match &published.value {
            Value::String(text) => format!("{text}\n"),
            Value::Object(_) | Value::Array(_) => format!("{:#}\n", published.value),
            other => format!("{other}\n"),
        },
        Ok(Some(published)) => format!("{}\n", sentence(published, kind, columns)),
    }
}

/// `weights/ (final_loss 1.25, steps 120)`: the paths of the output, and its scalars, which are below where there is no room.
fn sentence(published: &Published, kind: Kind, columns: Option<usize>) -> String {
    let paths: Vec<String> = published
        .paths
        .iter()
        .map(|path| format!("{}{}", path.display(), if path.is_dir() { "/" } else { "" }))
        .collect();
    let values: Vec<String> = match &published.value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| value.is_number() || value.is_boolean())
            .map(|(name, value)| format!("{name} {}", short(value)))
            .collect(),
        _ => Vec::new(),
    };
    let verb = if kind == Kind::Train { "trained" } else { "predicted" };
    let place = format!("{verb}: {}", paths.join(", "));
    if values.is_empty() {
        return place;
    }
    let values = values.join(", ");
    let line = format!("{place} ({values})");
    match columns {
        Some(columns) if width(&line) > columns => {
            let values = wrapped(&values, columns.saturating_sub(2));
            format!("{place}\n  {}", values.join("\n  "))
        }
        _ => line,
    }
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
    use serde_json::json;

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
