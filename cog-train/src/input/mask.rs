//! Keeps the texts of secrets out of everything that is shown or kept.

use std::borrow::Cow;

use serde_json::Value;

use super::types::MASK;

/// Texts that are replaced by asterisks wherever they turn up: in a trainer's own lines, in errors, in run files.
#[derive(Clone, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    /// A mask for these texts. Empty ones hide nothing.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> =
            secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        // The longest first: a secret may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without the secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.as_str()) {
                Cow::Owned(text.replace(secret.as_str(), MASK))
            } else {
                text
            }
        })
    }

    /// The value with no secret in any of its texts or names.
    #[must_use]
    pub fn value(&self, value: Value) -> Value {
        match value {
            _ if self.0.is_empty() => value,
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(name, item)| (self.text(&name).into_owned(), self.value(item)))
                .collect(),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_vanish_from_texts_names_and_nested_values() {
        let mask = Mask::new(["canary".to_owned(), "canary-long".to_owned(), String::new()]);
        assert_eq!(mask.text("a canary-long, a canary"), format!("a {MASK}, a {MASK}"));
        assert_eq!(
            mask.value(json!({"canary": ["x canary", 1]})),
            json!({MASK: [format!("x {MASK}"), 1]})
        );
        assert!(matches!(mask.text("nothing"), Cow::Borrowed(_)));
    }
}
