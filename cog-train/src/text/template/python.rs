//! Values as Python writes them: `str`, `repr` and `json.dumps`.

use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// The greatest depth of a value that is written; Python's own limit is about 1,000.
const DEPTH: usize = 500;

/// Python's `str(value)`, which is what a template prints. Each value in it and its bytes are charged to the rendering.
pub(super) fn str(state: &State, value: &Value) -> Result<String, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.as_str().unwrap_or_default().to_owned());
    }
    let mut text = String::new();
    repr(state, &mut text, value, 0)?;
    Ok(text)
}

/// Python's `repr(value)`, and nothing for an undefined value.
fn repr(state: &State, text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    check(state, value, depth)?;
    let list = |text: &mut String, open: char, close: char| {
        let items = items(state, value)?;
        text.push(open);
        for (at, item) in items.iter().enumerate() {
            text.push_str(if at > 0 { ", " } else { "" });
            repr(state, text, item, depth + 1)?;
        }
        // A tuple of one has a comma.
        text.push_str(if value.is_tuple() && items.len() == 1 { "," } else { "" });
        text.push(close);
        Ok::<_, Error>(())
    };
    match value.kind() {
        ValueKind::String => text.push_str(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Number => text.push_str(&number(value)),
        ValueKind::Seq | ValueKind::Iterable if value.is_tuple() => list(text, '(', ')')?,
        ValueKind::Seq | ValueKind::Iterable => list(text, '[', ']')?,
        ValueKind::Map => {
            text.push('{');
            for (at, (key, value)) in pairs(state, value)?.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                repr(state, text, key, depth + 1)?;
                text.push_str(": ");
                repr(state, text, value, depth + 1)?;
            }
            text.push('}');
        }
        _ => text.push_str(&value.to_string()),
    }
    Ok(())
}

/// Charges for a value that is written, and refuses one that is nested too deep.
fn check(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEPTH {
        let reason = format!("a value is nested more than {DEPTH} deep");
        return Err(Error::new(ErrorKind::InvalidOperation, reason));
    }
    let bytes = value.as_str().map_or(0, str::len);
    state.consume_fuel(1 + bytes as u64 / 16)
}

/// The items of a value, each charged: a repeated list has any number of them without being in memory.
fn items(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    let mut items = Vec::new();
    for item in value.try_iter().into_iter().flatten() {
        state.consume_fuel(1)?;
        items.push(item);
    }
    Ok(items)
}

fn pairs(state: &State, value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    let of = |key: Value| (key.clone(), value.get_item(&key).unwrap_or_default());
    Ok(items(state, value)?.into_iter().map(of).collect())
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => self::float(float, ["nan", "inf", "-inf"]),
        _ => value.to_string(),
    }
}

/// The shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on.
fn float(float: f64, [nan, inf, negative_inf]: [&str; 3]) -> String {
    if float.is_nan() {
        return nan.to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { inf } else { negative_inf }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if float != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{float:?}")
}

/// A string between quotes: single ones, unless it has such and no double ones.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' => quoted.push_str("\\\\"),
            c if c == quote => quoted.extend(['\\', c]),
            c if is_printable(c) => quoted.push(c),
            c => {
                let _ = match u32::from(c) {
                    code @ ..=0xff => write!(quoted, "\\x{code:02x}"),
                    code @ ..=0xffff => write!(quoted, "\\u{code:04x}"),
                    code => write!(quoted, "\\U{code:08x}"),
                };
            }
        }
    }
    quoted.push(quote);
    quoted
}

/// Whether Python's `repr` shows a character as it is.
fn is_printable(c: char) -> bool {
    let format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    let private = matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..);
    c == ' ' || !(c.is_control() || c.is_whitespace() || format || private)
}

/// The options of Python's `json.dumps`.
pub(super) struct Json {
    pub(super) ensure_ascii: bool,
    /// The indentation of one level.
    pub(super) indent: Option<String>,
    /// Between items, and between key and value.
    pub(super) separators: Option<(String, String)>,
    pub(super) sort_keys: bool,
}

impl Json {
    /// Python's `json.dumps(value)` with these options.
    ///
    /// # Errors
    ///
    /// An error for a value that JSON does not have.
    pub(super) fn dumps(&self, state: &State, value: &Value) -> Result<String, Error> {
        let mut text = String::new();
        self.write(state, &mut text, value, 0)?;
        Ok(text)
    }

    fn write(
        &self,
        state: &State,
        text: &mut String,
        value: &Value,
        depth: usize,
    ) -> Result<(), Error> {
        check(state, value, depth)?;
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&number_of_json(value)),
            ValueKind::String => self.string(text, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = items(state, value)?;
                self.container(text, ['[', ']'], items.len(), depth, |text, at| {
                    self.write(state, text, &items[at], depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut pairs = pairs(state, value)?;
                if self.sort_keys {
                    pairs.sort_by(|one, other| one.0.cmp(&other.0));
                }
                let colon = self.separators.as_ref().map_or(": ", |(_, colon)| colon);
                self.container(text, ['{', '}'], pairs.len(), depth, |text, at| {
                    let (key, value) = &pairs[at];
                    self.string(text, &key_of_json(key)?);
                    text.push_str(colon);
                    self.write(state, text, value, depth + 1)
                })?;
            }
            kind => {
                let reason = format!("a value of type {kind} is not JSON serializable");
                return Err(Error::new(ErrorKind::BadSerialization, reason));
            }
        }
        Ok(())
    }

    fn container(
        &self,
        text: &mut String,
        [open, close]: [char; 2],
        count: usize,
        depth: usize,
        mut item: impl FnMut(&mut String, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let comma = match (&self.separators, &self.indent) {
            (Some((comma, _)), _) => comma,
            (None, Some(_)) => ",",
            (None, None) => ", ",
        };
        let line = |text: &mut String, depth: usize| {
            if let Some(indent) = &self.indent {
                text.push('\n');
                text.push_str(&indent.repeat(depth));
            }
        };
        text.push(open);
        for at in 0..count {
            if at > 0 {
                text.push_str(comma);
            }
            line(text, depth + 1);
            item(text, at)?;
        }
        if count > 0 {
            line(text, depth);
        }
        text.push(close);
        Ok(())
    }

    fn string(&self, text: &mut String, content: &str) {
        text.push('"');
        for c in content.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !(' '..='~').contains(&c)) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
                c => text.push(c),
            }
        }
        text.push('"');
    }
}

fn number_of_json(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => self::float(float, ["NaN", "Infinity", "-Infinity"]),
        _ => value.to_string(),
    }
}

fn key_of_json(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number_of_json(key)),
        kind => {
            let reason = format!("a key of type {kind} is not JSON serializable");
            Err(Error::new(ErrorKind::BadSerialization, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// repr(x), json.dumps(x)
    /// ```
    #[test]
    fn floats_equal_pythons() {
        let engine = minijinja::Environment::new();
        let state = engine.empty_state();
        for (value, repr_of, json) in [
            (0.0, "0.0", "0.0"),
            (-0.0, "-0.0", "-0.0"),
            (1e15, "1000000000000000.0", "1000000000000000.0"),
            (1e16, "1e+16", "1e+16"),
            (1.5e-5, "1.5e-05", "1.5e-05"),
            (0.0001, "0.0001", "0.0001"),
            (123_456_789.125, "123456789.125", "123456789.125"),
            (5e-324, "5e-324", "5e-324"),
            (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (f64::NAN, "nan", "NaN"),
            (f64::NEG_INFINITY, "-inf", "-Infinity"),
        ] {
            assert_eq!(str(&state, &Value::from(value)).unwrap(), repr_of);
            assert_eq!(number_of_json(&Value::from(value)), json);
        }
    }

    #[test]
    fn strings_equal_pythons_repr() {
        for (text, expected) in [
            ("it's", "\"it's\""),
            ("it's \"so\"", "'it\\'s \"so\"'"),
            (
                "a\u{a0}b\u{200b}\u{7f}\u{e000}\u{1f600}é\u{2028}",
                "'a\\xa0b\\u200b\\x7f\\ue000\u{1f600}é\\u2028'",
            ),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
