//! A training row.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::content::{Content, content, same_kind};
use super::fields::{Fields, messages, turns};
use super::format::Format;
use super::preference::{self, Answers};
use crate::text::template::Chat;

/// A training row of any format.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Row {
    /// A text, all of which is trained.
    Text(String),
    /// A prompt and the completion that is trained.
    Completion {
        /// Comes first and is not trained.
        prompt: Content,
        /// Of the same kind as the prompt.
        completion: Content,
    },
    /// A conversation, of which the assistant's turns are trained.
    Chat(Chat),
    /// An instruction in Alpaca's form.
    Instruction {
        /// The task.
        instruction: String,
        /// The object of the task; may be empty.
        input: String,
        /// The answer that is trained.
        output: String,
    },
    /// A text with its class.
    Labelled {
        /// The text.
        text: String,
        /// Its class.
        label: Label,
    },
    /// Texts whose embeddings are compared.
    Pair {
        /// The text that is compared.
        anchor: String,
        /// A text that belongs to it.
        positive: String,
        /// A text that does not.
        negative: Option<String>,
    },
    /// A prompt with a better and a worse answer.
    Preference {
        /// Comes before both.
        prompt: Content,
        /// The better answer.
        chosen: Content,
        /// The worse one.
        rejected: Content,
    },
}

/// A class: its name, or its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Label {
    /// The number of the class.
    Id(u32),
    /// The name of the class.
    Name(String),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl Row {
    /// Reads a row of a format.
    ///
    /// # Errors
    ///
    /// A sentence about the key that is not right.
    pub fn parse(format: Format, row: &Value) -> Result<Self, String> {
        let fields = Fields(row.as_object().ok_or("not a JSON object")?);
        Ok(match format {
            Format::Text => Self::Text(fields.text("text")?),
            Format::Completion => {
                let (prompt, completion) =
                    (content(&fields, "prompt")?, content(&fields, "completion")?);
                same_kind([("prompt", &prompt), ("completion", &completion)])?;
                Self::Completion { prompt, completion }
            }
            Format::Messages => {
                Self::Chat(fields.chat(messages("messages", fields.list("messages")?)?)?)
            }
            Format::Conversations => {
                let turns = turns(&fields.list("conversations")?)?;
                Self::Chat(fields.chat(fields.with_system(turns)?)?)
            }
            Format::Instruction => Self::Instruction {
                instruction: fields.text("instruction")?,
                input: fields.optional_text("input")?.unwrap_or_default(),
                output: fields.text("output")?,
            },
            Format::Labelled => {
                Self::Labelled { text: fields.text("text")?, label: label(&fields, "label")? }
            }
            Format::Pair => Self::Pair {
                anchor: fields.text("anchor")?,
                positive: fields.text("positive")?,
                negative: fields.optional_text("negative")?,
            },
            Format::Preference => Self::preference(preference::explicit(&fields)?),
            Format::ImplicitPreference => Self::preference(preference::implicit(&fields)?),
        })
    }

    fn preference(answers: Answers) -> Self {
        let Answers { prompt, chosen, rejected } = answers;
        Self::Preference { prompt, chosen, rejected }
    }
}

fn label(fields: &Fields<'_>, key: &str) -> Result<Label, String> {
    let label = match fields.required(key)? {
        // A CSV file has no numbers.
        Value::String(name) => Some(name.parse().map_or(Label::Name(name.clone()), Label::Id)),
        Value::Bool(value) => Some(Label::Id((*value).into())),
        value => value.as_u64().and_then(|id| u32::try_from(id).ok()).map(Label::Id),
    };
    label.ok_or_else(|| format!("`{key}` is neither a class's name nor its number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(row: &Value) -> Result<Row, String> {
        let format = Format::of(row.as_object().unwrap().keys().map(String::as_str))?;
        Row::parse(format, row)
    }

    #[test]
    fn rows_of_each_format_are_read() {
        let text = |text: &str| Content::Text(text.to_owned());
        let chat = Chat::of([("user", "q"), ("assistant", "a")]);
        for (row, expected) in [
            (json!({"text": "t", "id": 1}), Row::Text("t".to_owned())),
            (
                json!({"prompt": "p", "completion": "c"}),
                Row::Completion { prompt: text("p"), completion: text("c") },
            ),
            (
                json!({"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}),
                Row::Completion {
                    prompt: Content::Messages(vec![json!({"role": "user", "content": "q"})]),
                    completion: Content::Messages(vec![
                        json!({"role": "assistant", "content": "a"}),
                    ]),
                },
            ),
            (json!({"messages": chat.messages()}), Row::Chat(chat.clone())),
            (json!({"messages": json!(chat.messages()).to_string()}), Row::Chat(chat.clone())),
            (
                json!({"messages": chat.messages(), "tools": [{"type": "function"}], "documents": null}),
                Row::Chat(chat.clone().tools(vec![json!({"type": "function"})])),
            ),
            (
                json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": ""}),
                Row::Chat(chat.clone()),
            ),
            (
                json!({"conversations": [{"from": "human", "value": "q"}], "system": "s"}),
                Row::Chat(Chat::of([("system", "s"), ("user", "q")])),
            ),
            (
                json!({"instruction": "i", "input": null, "output": "o"}),
                Row::Instruction {
                    instruction: "i".to_owned(),
                    input: String::new(),
                    output: "o".to_owned(),
                },
            ),
            (
                json!({"text": "t", "label": "good"}),
                Row::Labelled { text: "t".to_owned(), label: Label::Name("good".to_owned()) },
            ),
            (
                json!({"text": "t", "label": 2}),
                Row::Labelled { text: "t".to_owned(), label: Label::Id(2) },
            ),
            (
                json!({"text": "t", "label": "2"}),
                Row::Labelled { text: "t".to_owned(), label: Label::Id(2) },
            ),
            (
                json!({"anchor": "a", "positive": "p"}),
                Row::Pair { anchor: "a".to_owned(), positive: "p".to_owned(), negative: None },
            ),
            (
                json!({"prompt": "p", "chosen": "c", "rejected": "r"}),
                Row::Preference { prompt: text("p"), chosen: text("c"), rejected: text("r") },
            ),
        ] {
            assert_eq!(parse(&row), Ok(expected));
        }
    }

    #[test]
    fn a_field_that_is_not_right_is_named() {
        for (row, expected) in [
            (json!({"text": 1}), "`text` is not a string"),
            (json!({"text": null}), "`text` is null"),
            (json!({"prompt": "p", "completion": []}), "`completion` is empty"),
            (
                json!({"prompt": 1, "completion": ""}),
                "`prompt` is neither a string nor a list of messages",
            ),
            (
                json!({"prompt": "p", "completion": [{"role": "assistant"}]}),
                "one of `prompt` and `completion` is a text, the other a list of messages",
            ),
            (
                json!({"messages": [{"content": "x"}]}),
                "message 1 of `messages` is not an object with a `role`",
            ),
            (json!({"messages": "hi"}), "`messages` is not a list"),
            (
                json!({"conversations": [{"from": "human"}]}),
                "turn 1 of `conversations` has no text in `value`",
            ),
            (
                json!({"conversations": [{"from": "cat", "value": "x"}]}),
                "turn 1 of `conversations` is from `cat`, and not from human, gpt, system or tool",
            ),
            (json!({"text": "t", "label": -1}), "`label` is neither a class's name nor its number"),
            (json!({"messages": [{"role": "user"}], "tools": 1}), "`tools` is not a list"),
        ] {
            assert_eq!(parse(&row).unwrap_err(), expected);
        }
        assert_eq!(
            Row::parse(Format::Labelled, &json!({"text": "t"})).unwrap_err(),
            "`label` is missing"
        );
    }
}
