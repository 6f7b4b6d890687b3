//! Keeps secrets out of everything that is shown or recorded.

mod needle;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Value};

use self::needle::{Needle, needles};
use super::types::MASK;

/// Replaces secrets by asterisks: in a trainer's own lines, in errors, in run files.
///
/// A secret is found in every form in which a text may hold it: as it is, escaped by `{:?}` or as JSON (once or several
/// times), percent-encoded, and each longer line of a secret with several lines alone. Numbers are not looked at.
///
/// ```
/// use cog_train::input::Mask;
///
/// let mask = Mask::new(["pass\"word".to_owned()]);
/// assert_eq!(mask.text(r#"{"key":"pass\"word"}"#), r#"{"key":"**********"}"#);
/// assert_eq!(mask.text("https://host/?key=pass%22word"), "https://host/?key=**********");
/// ```
#[derive(Clone, Default)]
pub struct Mask(Vec<Needle>);

impl Mask {
    /// Creates a mask for these secrets. One of nothing but whitespace hides nothing.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self(needles(secrets))
    }

    /// Returns the text without the secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut rest = 0;
        let mut masked = String::new();
        for span in self.spans(text) {
            masked.push_str(&text[rest..span.start]);
            masked.push_str(MASK);
            rest = span.end;
        }
        if rest == 0 {
            return Cow::Borrowed(text);
        }
        masked.push_str(&text[rest..]);
        Cow::Owned(masked)
    }

    /// Returns the value without the secrets in any of its texts and names.
    #[must_use]
    pub fn value(&self, value: Value) -> Value {
        match value {
            _ if self.0.is_empty() => value,
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                let mut masked = Map::new();
                for (name, item) in map {
                    let name = free_name(&self.text(&name), &masked);
                    masked.insert(name, self.value(item));
                }
                Value::Object(masked)
            }
            other => other,
        }
    }

    /// Returns the map without the secrets in any of its texts and names, borrowed when there are none.
    #[must_use]
    pub fn map<'a>(&self, map: &'a Map<String, Value>) -> Cow<'a, Map<String, Value>> {
        if !map.iter().any(|(name, value)| self.hides_in_text(name) || self.hides(value)) {
            return Cow::Borrowed(map);
        }
        match self.value(Value::Object(map.clone())) {
            Value::Object(masked) => Cow::Owned(masked),
            _ => unreachable!("an object stays an object"),
        }
    }

    /// Whether [`Mask::value`] would change the value.
    #[must_use]
    pub fn hides(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.hides_in_text(text),
            Value::Array(items) => items.iter().any(|item| self.hides(item)),
            Value::Object(map) => {
                map.iter().any(|(name, item)| self.hides_in_text(name) || self.hides(item))
            }
            _ => false,
        }
    }

    fn hides_in_text(&self, text: &str) -> bool {
        !self.0.is_empty() && text.char_indices().any(|(at, _)| self.end_at(text, at).is_some())
    }

    /// Returns the parts of the text that hold secrets. Overlapping secrets are one part.
    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        if self.0.is_empty() {
            return spans;
        }
        for (at, _) in text.char_indices() {
            let Some(end) = self.end_at(text, at) else { continue };
            match spans.last_mut() {
                Some(last) if at < last.end => last.end = last.end.max(end),
                _ => spans.push(at..end),
            }
        }
        spans
    }

    /// Returns the end of the longest secret that starts at `at`.
    fn end_at(&self, text: &str, at: usize) -> Option<usize> {
        self.0.iter().filter_map(|needle| needle.end_at(text, at)).max()
    }
}

/// Returns the name, numbered when masking made it equal to an earlier one.
fn free_name(name: &str, taken: &Map<String, Value>) -> String {
    let mut free = name.to_string();
    let mut number = 1;
    while taken.contains_key(&free) {
        number += 1;
        free = format!("{name}_{number}");
    }
    free
}

#[cfg(test)]
mod tests;
