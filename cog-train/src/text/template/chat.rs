//! A conversation, and how its rendering ends.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A conversation with all that a template may use: messages, tools, documents and variables.
///
/// A message is a JSON object with `role` and `content`, and whatever else the template reads (`tool_calls`,
/// `reasoning_content`). As in `transformers`, a key that is null counts as absent.
///
/// ```
/// use cog_train::serde_json::json;
/// use cog_train::text::Chat;
///
/// let chat = Chat::of([("system", "Be brief."), ("user", "2 + 2?")]).variable("enable_thinking", json!(false));
/// assert_eq!(chat.messages()[1]["content"], "2 + 2?");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Chat {
    messages: Vec<Value>,
    tools: Option<Vec<Value>>,
    documents: Option<Vec<Value>>,
    variables: Map<String, Value>,
}

impl Chat {
    /// A conversation of JSON messages.
    #[must_use]
    pub fn new(messages: Vec<Value>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// A conversation of roles with their contents.
    #[must_use]
    pub fn of<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let message = |(role, content)| json!({ "role": role, "content": content });
        Self::new(messages.into_iter().map(message).collect())
    }

    /// With the JSON schemas of tools.
    #[must_use]
    pub fn tools(self, tools: Vec<Value>) -> Self {
        Self { tools: Some(tools), ..self }
    }

    /// With documents to answer from, each an object with `title` and `text`.
    #[must_use]
    pub fn documents(self, documents: Vec<Value>) -> Self {
        Self { documents: Some(documents), ..self }
    }

    /// With a variable of the template, such as `enable_thinking`. It hides a special token of that name.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: Value) -> Self {
        self.variables.insert(name.into(), value);
        self
    }

    /// Returns the messages.
    #[must_use]
    pub fn messages(&self) -> &[Value] {
        &self.messages
    }

    /// Returns the conversation's first `count` messages, with the rest of it.
    pub(in super::super) fn prefix(&self, count: usize) -> Self {
        let messages = self.messages[..count].to_vec();
        Self { messages, ..self.clone() }
    }

    pub(super) fn has_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// Returns the messages without keys that are null, with the names that templates know reasoning by, as in
    /// `transformers`; or the index of one that is no object.
    pub(super) fn normalized(&self) -> Result<Vec<Map<String, Value>>, usize> {
        let normal = |(at, message): (usize, &Value)| {
            let mut message = message.as_object().ok_or(at)?.clone();
            message.retain(|_, value| !value.is_null());
            let reasoning = REASONING.iter().find_map(|key| message.get(*key)).cloned();
            if let Some(reasoning) = reasoning {
                if !message.contains_key("thinking") {
                    message.insert("thinking".to_owned(), reasoning.clone());
                }
                message.insert("reasoning_content".to_owned(), reasoning);
            }
            Ok(message)
        };
        self.messages.iter().enumerate().map(normal).collect()
    }

    /// Returns the variables of a template.
    pub(super) fn context(
        &self,
        messages: Vec<Map<String, Value>>,
        special: &[(String, String)],
        add_generation_prompt: bool,
    ) -> Map<String, Value> {
        let list = |values: &Option<Vec<Value>>| values.clone().map_or(Value::Null, Value::Array);
        let mut context: Map<String, Value> =
            special.iter().map(|(name, token)| (name.clone(), json!(token))).collect();
        context.extend(self.variables.clone());
        let messages = messages.into_iter().map(Value::Object).collect();
        context.insert("messages".to_owned(), Value::Array(messages));
        context.insert("tools".to_owned(), list(&self.tools));
        context.insert("documents".to_owned(), list(&self.documents));
        context.insert("add_generation_prompt".to_owned(), add_generation_prompt.into());
        context
    }
}

/// The names of a message's reasoning, the standard one first.
pub(super) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The end of a rendered conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// After the last message.
    #[default]
    Closed,
    /// After the start of a new assistant turn: `add_generation_prompt=True`.
    GenerationPrompt,
    /// Within the last message, for the model to continue its `content`: `continue_final_message=True`.
    Continue,
    /// Within the last message, for the model to continue its `reasoning_content`.
    ContinueReasoning,
}
