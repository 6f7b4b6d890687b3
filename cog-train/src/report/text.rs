//! Numbers, times and texts as a person reads them.

use serde_json::Value;

use crate::message::human;

/// A number with four digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (value.fract() == 0.0 && size < 1e6) {
        format!("{value:.0}")
    } else if (1e-3..1e5).contains(&size) {
        let decimals = if size >= 1000.0 {
            0
        } else if size >= 10.0 {
            2
        } else {
            4
        };
        format!("{value:.decimals$}")
    } else if value.is_finite() {
        format!("{value:.2e}")
    } else {
        value.to_string()
    }
}

/// Bytes in binary units.
pub(super) fn bytes(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size to read")]
    let whole = value as u64;
    human(whole)
}

/// `1 h 02 min`, `3 min 04 s`, `5.2 s`.
pub(super) fn seconds(value: f64) -> String {
    if value < 60.0 {
        return format!("{value:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time to read")]
    let whole = value.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole / 60 % 60)
    }
}

/// A value of JSON: a text as it is.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text, 2000),
        other => shortened(&other.to_string(), 2000),
    }
}

/// The first characters of a text.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
