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

/// Marks the columns of a line as separate where it has letters from right to left, which would take the numbers behind them along.
pub(super) fn columns_apart(line: &str) -> String {
    // Hebrew, Arabic and what lies between, and their presentation forms.
    let is_rtl = |c: char| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}');
    if !line.contains(is_rtl) {
        return line.to_owned();
    }
    let mut apart = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    let mut spaces = 0;
    while let Some(c) = rest.next() {
        apart.push(c);
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces > 1 && rest.peek().is_some_and(|next| *next != ' ') {
            apart.push('\u{200e}'); // the left-to-right mark
        }
    }
    apart
}
