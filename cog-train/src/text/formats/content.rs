//! A text or messages, where a row may have either.

use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, messages};

/// A text, or the messages of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Content {
    /// A text.
    Text(String),
    /// JSON messages, as [`Chat::new`](crate::text::Chat::new) takes them.
    Messages(Vec<Value>),
}

pub(super) fn content(fields: &Fields<'_>, key: &str) -> Result<Content, String> {
    match fields.required(key)? {
        Value::String(text) => Ok(Content::Text(text.clone())),
        Value::Array(list) => messages(key, list.clone()).map(Content::Messages),
        _ => Err(format!("`{key}` is neither a string nor a list of messages")),
    }
}

pub(super) fn same_kind<const N: usize>(contents: [(&str, &Content); N]) -> Result<(), String> {
    let is_text = |content: &Content| matches!(content, Content::Text(_));
    let (first, kind) = contents[0];
    match contents.iter().find(|(_, content)| is_text(content) != is_text(kind)) {
        Some((other, _)) => {
            Err(format!("one of `{first}` and `{other}` is a text, the other a list of messages"))
        }
        None => Ok(()),
    }
}
