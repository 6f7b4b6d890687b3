//! The fields of a row, and the messages in them.

use serde_json::{Map, Value, json};

use crate::error::printable_name;
use crate::text::template::Chat;

/// The fields of a row. A null counts as absent.
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn required(&self, key: &str) -> Result<&Value, String> {
        self.get(key).ok_or_else(|| {
            let fault = if self.0.contains_key(key) { "null" } else { "missing" };
            format!("`{key}` is {fault}")
        })
    }

    pub(super) fn text(&self, key: &str) -> Result<String, String> {
        self.required(key)?.as_str().map(str::to_owned).ok_or_else(|| not_a_string(key))
    }

    pub(super) fn optional_text(&self, key: &str) -> Result<Option<String>, String> {
        let text =
            |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| not_a_string(key));
        self.get(key).map(text).transpose()
    }

    /// A list, or the JSON text of one: a CSV file has no lists.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Value>, String> {
        let list = match self.required(key)? {
            Value::Array(list) => Some(list.clone()),
            Value::String(text) => serde_json::from_str(text).ok(),
            _ => None,
        };
        list.ok_or_else(|| format!("`{key}` is not a list"))
    }

    pub(super) fn chat(&self, messages: Vec<Value>) -> Result<Chat, String> {
        let mut chat = Chat::new(messages);
        if self.get("tools").is_some() {
            chat = chat.tools(self.list("tools")?);
        }
        if self.get("documents").is_some() {
            chat = chat.documents(self.list("documents")?);
        }
        Ok(chat)
    }

    /// The messages behind the one of the key `system`, which some files have.
    pub(super) fn with_system(&self, mut messages: Vec<Value>) -> Result<Vec<Value>, String> {
        let system = self.optional_text("system")?.filter(|system| !system.is_empty());
        if let Some(system) = system.filter(|_| messages[0]["role"] != "system") {
            messages.insert(0, json!({ "role": "system", "content": system }));
        }
        Ok(messages)
    }
}

fn not_a_string(key: &str) -> String {
    format!("`{key}` is not a string")
}

/// Checks messages with `role`.
pub(super) fn messages(key: &str, messages: Vec<Value>) -> Result<Vec<Value>, String> {
    for (at, message) in (1..).zip(&messages) {
        if message.get("role").and_then(Value::as_str).is_none() {
            return Err(format!("message {at} of `{key}` is not an object with a `role`"));
        }
    }
    if messages.is_empty() { Err(format!("`{key}` is empty")) } else { Ok(messages) }
}

/// Reads turns with `from` and `value`; those with `role` and `content` are taken as they are.
pub(super) fn turns(turns: &[Value]) -> Result<Vec<Value>, String> {
    let read = |(at, turn): (usize, &Value)| {
        if turn.get("role").is_some() {
            return Ok(turn.clone());
        }
        let text = |key: &str| {
            let text = turn.get(key).and_then(Value::as_str);
            text.ok_or_else(|| format!("turn {at} of `conversations` has no text in `{key}`"))
        };
        let role = match text("from")? {
            "human" | "user" | "prompter" => "user",
            "gpt" | "assistant" | "model" | "bot" | "chatgpt" | "bing" | "bard" => "assistant",
            "system" => "system",
            "tool" | "function" | "observation" | "function_response" => "tool",
            other => {
                return Err(format!(
                    "turn {at} of `conversations` is from `{}`, and not from human, gpt, system or tool",
                    printable_name(other)
                ));
            }
        };
        Ok(json!({ "role": role, "content": text("value")? }))
    };
    let read: Vec<Value> = (1..).zip(turns).map(read).collect::<Result<_, String>>()?;
    messages("conversations", read)
}
