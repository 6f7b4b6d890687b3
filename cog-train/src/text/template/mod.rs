//! Chat templates: conversations as one text, as `apply_chat_template` of `transformers` renders them.

mod chat;
mod continued;
mod engine;
mod generation;
mod python;
mod strftime;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minijinja::Environment;
use minijinja::value::Serde;

use self::chat::REASONING;
pub use self::chat::{Chat, Ending};
use self::engine::Raised;
use self::generation::Marks;
use super::tokenizer::Tokenizer;
use crate::error::{Error, counted, printable_name};
use crate::tokenizer_files::{DEFAULT, templates};

/// The name of the template for conversations with tools.
const TOOL_USE: &str = "tool_use";

/// The most bytes of a source, whose parser needs a stack for each operator; those of models have some ten thousand.
const SOURCE_BYTES: usize = 1 << 18;

/// The chat template of a Hugging Face folder.
///
/// It renders the text that `apply_chat_template` of `transformers` renders. A template writes all special tokens itself, so
/// that [`ChatTemplate::encode`] adds none: there is one BOS where the template has one. What Jinja has and this engine has not
/// (`%` between a string and values) is an error and never another text.
///
/// ```
/// use cog_train::text::{Chat, ChatTemplate, Ending, Tokenizer};
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/bytes");
/// let tokenizer = Tokenizer::open(folder)?;
/// let template = ChatTemplate::new(
///     "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{{ '<|assistant|>' if add_generation_prompt }}",
///     &tokenizer,
/// )?;
/// let chat = Chat::of([("user", "2 + 2?")]);
/// let prompt = template.render(&chat, Ending::GenerationPrompt)?.text;
/// assert_eq!(prompt, "<|user|>2 + 2?<|end|><|assistant|>");
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    engine: Environment<'static>,
    /// The sources by name.
    sources: Vec<(String, Source)>,
    special: Vec<(String, String)>,
    path: PathBuf,
}

#[derive(Debug, Clone)]
struct Source {
    text: String,
    generation: bool,
}

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The byte ranges that the assistant wrote, where the template marks them with `{% generation %}`.
    pub assistant: Option<Vec<Range<usize>>>,
}

/// The ids of a rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedChat {
    /// The ids.
    pub ids: Vec<u32>,
    /// For each id, whether the assistant wrote it, where the template marks that with `{% generation %}`.
    pub assistant: Option<Vec<bool>>,
}

impl ChatTemplate {
    /// Opens the template of a folder: `chat_template.jinja` and `additional_chat_templates/*.jinja`, else the key `chat_template`
    /// of `tokenizer_config.json`, a template or a list of named ones. Of a GGUF file, it is `tokenizer.chat_template`.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] when there is none or one is not a template, with its line; [`Error::File`] when a file cannot
    /// be read.
    pub fn open(folder: impl AsRef<Path>, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let folder = folder.as_ref();
        Self::find(folder, tokenizer)?.ok_or_else(|| {
            let missing = if folder.is_file() {
                "no `tokenizer.chat_template` in its metadata"
            } else {
                "neither `chat_template.jinja` nor `chat_template` in `tokenizer_config.json`"
            };
            Error::chat_template(
                folder,
                format!(
                    "there is none: {missing}\n\
                     hint: a base model has no template; use rows with `text`, or with `prompt` and `completion`"
                ),
            )
        })
    }

    /// Opens the template of a folder, as [`ChatTemplate::open`]; `None` when it has none, as that of a base model.
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::open`].
    pub fn find(folder: impl AsRef<Path>, tokenizer: &Tokenizer) -> Result<Option<Self>, Error> {
        let folder = folder.as_ref();
        let sources = templates(folder)?;
        if sources.is_empty() {
            return Ok(None);
        }
        Self::make(sources, tokenizer, folder.to_owned()).map(Some)
    }

    /// A template from its source.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] when it is not a template, with its line.
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let sources = vec![(DEFAULT.to_owned(), source.to_owned())];
        Self::make(sources, tokenizer, tokenizer.path().to_owned())
    }

    fn make(
        sources: Vec<(String, String)>,
        tokenizer: &Tokenizer,
        path: PathBuf,
    ) -> Result<Self, Error> {
        let mut engine = engine::environment(None);
        let mut kept = Vec::new();
        for (name, text) in sources {
            // Jinja reads each line break as one character.
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let rewritten = generation::rewrite(&text);
            let generation = rewritten.is_some();
            let code = rewritten.unwrap_or_else(|| text.clone());
            if code.len() > SOURCE_BYTES {
                let reason = format!(
                    "it has {}, and at most {SOURCE_BYTES} are possible",
                    counted(code.len(), "byte")
                );
                return Err(Error::chat_template(&path, reason));
            }
            let added = engine::with_deep_stack(|| {
                engine.add_template_owned(name.clone(), code).map_err(|error| sentence(&error))
            });
            added.map_err(|reason| {
                Error::chat_template(&path, format!("not a template: {reason}"))
            })?;
            kept.push((name, Source { text, generation }));
        }
        let special = tokenizer.special().named.clone();
        Ok(Self { engine, sources: kept, special, path })
    }

    /// With a fixed time for `strftime_now`, which templates with today's date call. The default is the time of the call, in UTC;
    /// a run that is resumed on another day needs the first day's.
    #[must_use]
    pub fn at(mut self, now: SystemTime) -> Self {
        let mut engine = engine::environment(Some(now));
        for (name, source) in &self.sources {
            let code = generation::rewrite(&source.text).unwrap_or_else(|| source.text.clone());
            // It was parsed before.
            let _ = engine::with_deep_stack(|| engine.add_template_owned(name.clone(), code));
        }
        self.engine = engine;
        self
    }

    /// Returns whether the template for `chat` marks the assistant's part with `{% generation %}`.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] when the folder has no template for it.
    pub fn marks_generation(&self, chat: &Chat) -> Result<bool, Error> {
        Ok(self.source(chat)?.1.generation)
    }

    /// Renders a conversation.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] when the template raises an exception or cannot be rendered, with its line; for a conversation
    /// without messages, and for one whose last message cannot be continued.
    pub fn render(&self, chat: &Chat, ending: Ending) -> Result<Rendered, Error> {
        let (name, source) = self.source(chat)?;
        let mut messages = chat.normalized().map_err(|at| {
            self.failed(format!("message {} is not an object with `role` and `content`", at + 1))
        })?;
        let Some(last) = messages.last_mut() else {
            return Err(self.failed("the conversation has no messages"));
        };
        let continued = match ending {
            Ending::Closed | Ending::GenerationPrompt => None,
            Ending::Continue => {
                Some(continued::tag(last, "content", &source.text).map_err(|it| self.failed(it))?)
            }
            Ending::ContinueReasoning => Some(
                continued::tag(last, REASONING[0], &source.text).map_err(|it| self.failed(it))?,
            ),
        };
        let prompt = ending == Ending::GenerationPrompt;
        let mut context = chat.context(messages, &self.special, prompt);
        let marks = if source.generation {
            let written = serde_json::to_string(&context).unwrap_or_default() + &source.text;
            let marks = Marks::absent_from(&written).ok_or_else(|| {
                self.failed("the conversation has all of the characters U+FDD0 to U+FDEF")
            })?;
            let both = [marks.open, marks.close].iter().collect::<String>();
            context.insert(engine::MARKS.to_owned(), both.into());
            Some(marks)
        } else {
            None
        };
        let rendered = engine::with_deep_stack(|| {
            let template = self.engine.get_template(name);
            let render =
                |it: minijinja::Template<'_, '_>| it.render(minijinja::Value::from(Serde(context)));
            template.and_then(render).map_err(|error| sentence(&error))
        });
        let text = rendered.map_err(|reason| self.failed(reason))?;
        let (text, assistant) = match marks {
            Some(marks) => {
                let (text, spans) = marks.remove(&text);
                (text, Some(spans))
            }
            None => (text, None),
        };
        match continued {
            Some(message) => {
                let text = continued::untag(&text, &message).map_err(|it| self.failed(it))?;
                Ok(Rendered { text, assistant: None })
            }
            None => Ok(Rendered { text, assistant }),
        }
    }

    /// Renders a conversation and returns its ids: `apply_chat_template(..., tokenize=True)`.
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::render`] and [`Tokenizer::encode`].
    pub fn encode(
        &self,
        chat: &Chat,
        ending: Ending,
        tokenizer: &Tokenizer,
    ) -> Result<EncodedChat, Error> {
        let rendered = self.render(chat, ending)?;
        let Some(spans) = rendered.assistant else {
            return Ok(EncodedChat {
                ids: tokenizer.encode_plain(&rendered.text)?,
                assistant: None,
            });
        };
        let encoded = tokenizer.encode_spans(&rendered.text)?;
        let assistant = encoded.overlap(&spans);
        Ok(EncodedChat { ids: encoded.ids, assistant: Some(assistant) })
    }

    /// Returns the template for a conversation.
    fn source(&self, chat: &Chat) -> Result<(&str, &Source), Error> {
        let wanted = if chat.has_tools() { [TOOL_USE, DEFAULT] } else { [DEFAULT, DEFAULT] };
        let find = |name: &str| self.sources.iter().find(|(other, _)| other == name);
        let found = wanted.iter().find_map(|name| find(name));
        let (name, source) = found.ok_or_else(|| {
            let names: Vec<String> = self
                .sources
                .iter()
                .map(|(name, _)| format!("`{}`", printable_name(name)))
                .collect();
            self.failed(format!("there is none named `default`, but {}", names.join(", ")))
        })?;
        Ok((name, source))
    }

    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::chat_template(&self.path, reason)
    }
}

/// An error of the engine: the text that was raised, or the fault, and the line.
fn sentence(error: &minijinja::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(link) = cause {
        if let Some(Raised(message)) = link.downcast_ref::<Raised>() {
            return format!("it raised: {message}");
        }
        cause = link.source();
    }
    let line = error.line().map_or_else(String::new, |line| format!("line {line}: "));
    match error.detail() {
        Some(detail) => format!("{line}{}: {detail}", error.kind()),
        None => format!("{line}{}", error.kind()),
    }
}
