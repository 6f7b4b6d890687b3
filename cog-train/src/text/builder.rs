//! Examples from rows.

use super::example::{Example, Truncation};
use super::examples::{Counts, Examples};
use super::formats::{Content, Row};
use super::template::{Chat, ChatTemplate, Ending};
use super::tokenizer::Tokenizer;
use super::turns::{self, Turns};
use crate::data::Dataset;
use crate::error::Error;
use crate::progress::CancelToken;

/// Makes examples for a causal language model from rows.
///
/// | row | trained |
/// |---|---|
/// | text | all of it and its end; a text that is too long becomes several examples, which share one token |
/// | prompt and completion, instruction | the completion and its end |
/// | conversation | the assistant's turns, each with the token that ends it |
/// | preference | both answers, by [`preferences`](Self::preferences) |
///
/// A user's token is never trained, unless [`train_all`](Self::train_all) asks for it. An example that is too long is truncated and
/// counted.
///
/// ```
/// use cog_train::text::{ExampleBuilder, Row, Tokenizer};
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/pieces");
/// let tokenizer = Tokenizer::open(folder)?;
/// let examples = ExampleBuilder::new(&tokenizer, 64);
/// let example = &examples.of(&Row::Text("The answer".to_owned()))?[0];
/// // All but the first, which is the `<s>` that begins each text.
/// assert_eq!(example.trained_tokens(), example.ids().len() - 1);
/// assert_eq!(example.ids().last().copied(), tokenizer.special().eos);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ExampleBuilder<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    template: Option<&'a ChatTemplate>,
    context: usize,
    turns: Turns,
    train_all: bool,
    truncation: Truncation,
}

impl<'a> ExampleBuilder<'a> {
    /// Examples for a model that reads at most `context` tokens, so that an example has one more.
    #[must_use]
    pub fn new(tokenizer: &'a Tokenizer, context: usize) -> Self {
        Self {
            tokenizer,
            template: None,
            context: context.max(1),
            turns: Turns::All,
            train_all: false,
            truncation: Truncation::End,
        }
    }

    /// With the template of conversations. Instructions become conversations too; without a template they are texts.
    #[must_use]
    pub fn template(self, template: &'a ChatTemplate) -> Self {
        Self { template: Some(template), ..self }
    }

    /// Selects the assistant's turns that are trained, by default all.
    #[must_use]
    pub fn turns(self, turns: Turns) -> Self {
        Self { turns, ..self }
    }

    /// Trains all tokens, those of prompts and users too.
    #[must_use]
    pub fn train_all(self, on: bool) -> Self {
        Self { train_all: on, ..self }
    }

    /// Selects the side of an example that loses tokens, by default the end.
    #[must_use]
    pub fn truncation(self, truncation: Truncation) -> Self {
        Self { truncation, ..self }
    }

    /// Makes the examples of all rows, until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of reading a row; [`Error::Data`] with the first row of which no example can be made, and when no row is left to
    /// train on; [`Error::Cancelled`].
    pub fn examples<D>(&self, rows: D, cancel: &CancelToken) -> Result<Examples, Error>
    where
        D: Dataset<Item = Row> + 'static,
    {
        Examples::make(rows, cancel, self.context, |row| {
            let mut counts = Counts { rows: 1, ..Counts::default() };
            let examples = self.build(row, &mut counts)?;
            Ok((examples, counts))
        })
    }

    /// Makes the examples of one row: none when there is nothing to train, several of a long text.
    ///
    /// # Errors
    ///
    /// Those of the tokenizer and the template; [`Error::InvalidConfig`] for a row that is not for a language model, or needs a
    /// template or an end of sequence that is not there.
    pub fn of(&self, row: &Row) -> Result<Vec<Example>, Error> {
        self.build(row, &mut Counts::default())
    }

    /// The most tokens of an example.
    pub(super) fn limit(&self) -> usize {
        self.context.saturating_add(1)
    }

    /// The same without truncation, and with answers alone trained.
    pub(super) fn untruncated(self) -> Self {
        Self { context: usize::MAX - 1, train_all: false, ..self }
    }

    pub(super) fn build(&self, row: &Row, counts: &mut Counts) -> Result<Vec<Example>, Error> {
        match row {
            Row::Text(text) => self.text(text, counts),
            Row::Completion {
                prompt: Content::Text(prompt),
                completion: Content::Text(completion),
            } => self.completion(prompt, completion, counts),
            Row::Completion {
                prompt: Content::Messages(prompt),
                completion: Content::Messages(completion),
            } => {
                let chat = Chat::new([&prompt[..], completion].concat());
                self.chat(&chat, prompt.len(), counts)
            }
            Row::Chat(chat) => self.chat(chat, 0, counts),
            Row::Instruction { instruction, input, output } => {
                let parts = [instruction.as_str(), input].map(str::trim_end);
                let prompt = parts.join("\n\n");
                match self.template {
                    Some(_) => {
                        let turns = [("user", prompt.trim_end()), ("assistant", output)];
                        self.chat(&Chat::of(turns), 0, counts)
                    }
                    None => self.completion(&format!("{}\n\n", prompt.trim_end()), output, counts),
                }
            }
            _ => Err(unsuitable(
                "a language model is trained on texts, prompts with completions, conversations and instructions",
            )),
        }
    }

    fn text(&self, text: &str, counts: &mut Counts) -> Result<Vec<Example>, Error> {
        if text.trim().is_empty() {
            counts.empty += 1;
            return Ok(Vec::new());
        }
        let examples = self.windows(self.tokenizer.encode_plain(text)?);
        counts.examples += examples.len();
        counts.empty += usize::from(examples.is_empty());
        Ok(examples)
    }

    /// Cuts a text into examples that share one token, so that each of its tokens and its end are trained once.
    pub(super) fn windows(&self, ids: Vec<u32>) -> Vec<Example> {
        let mut ids = self.begun(ids);
        self.end(&mut ids);
        let last = ids.len().saturating_sub(1);
        let window = |start: usize| {
            let ids = ids[start..ids.len().min(start + self.context + 1)].to_vec();
            Example::completion(ids, 1)
        };
        (0..last).step_by(self.context).map(window).collect()
    }

    fn completion(
        &self,
        prompt: &str,
        completion: &str,
        counts: &mut Counts,
    ) -> Result<Vec<Example>, Error> {
        if completion.trim().is_empty() {
            counts.empty += 1;
            return Ok(Vec::new());
        }
        let prompt_ids = self.begun(self.tokenizer.encode_plain(prompt)?);
        let mut ids = self.begun(self.tokenizer.encode_plain(&format!("{prompt}{completion}"))?);
        if !ids.starts_with(&prompt_ids) {
            // A model that continues the prompt starts from the prompt's own tokens.
            ids = [&prompt_ids[..], &self.tokenizer.encode_plain(completion)?].concat();
        }
        if !self.end(&mut ids) {
            return Err(unsuitable(
                "the tokenizer has no `eos_token`, so that a completion cannot be ended\n\
                 hint: name one in `tokenizer_config.json`",
            ));
        }
        let trained = if self.train_all { 1 } else { prompt_ids.len() };
        Ok(self.fitted(Example::completion(ids, trained), counts))
    }

    fn chat(&self, chat: &Chat, first: usize, counts: &mut Counts) -> Result<Vec<Example>, Error> {
        let template = self.template.ok_or_else(|| {
            unsuitable(
                "conversations need a chat template, and the model has none\n\
                 hint: use a model with one, or rows with `prompt` and `completion`",
            )
        })?;
        if self.train_all {
            let ids = template.encode(chat, Ending::Closed, self.tokenizer)?.ids;
            return Ok(self.fitted(Example::completion(ids, 1), counts));
        }
        let tokens = turns::encode(template, self.tokenizer, chat, first, self.turns)?;
        counts.unstopped += usize::from(tokens.unstopped > 0);
        let example = Example::new(tokens.ids, tokens.trained);
        if example.trained_tokens() == 0 {
            counts.empty += 1;
            return Ok(Vec::new());
        }
        Ok(self.fitted(example, counts))
    }

    /// Truncates an example, and drops it when nothing is left to train.
    fn fitted(&self, example: Example, counts: &mut Counts) -> Vec<Example> {
        let most = self.context + 1;
        let whole = example.ids().len();
        counts.longest_whole = counts.longest_whole.max(whole);
        let example = example.truncate(most, self.truncation);
        counts.truncated += usize::from(whole > most);
        if example.trained_tokens() == 0 {
            counts.cut_off += 1;
            return Vec::new();
        }
        counts.examples += 1;
        vec![example]
    }

    /// Puts the tokens that begin each sequence before ids that do not begin so by themselves.
    fn begun(&self, ids: Vec<u32>) -> Vec<u32> {
        let prefix = self.tokenizer.prefix();
        if ids.starts_with(prefix) { ids } else { [prefix, &ids[..]].concat() }
    }

    /// Puts the end of sequence behind ids that do not end so by themselves; false when there is none.
    fn end(&self, ids: &mut Vec<u32>) -> bool {
        let Some(eos) = self.tokenizer.special().eos else { return false };
        if ids.last() != Some(&eos) {
            ids.push(eos);
        }
        true
    }
}

pub(super) fn unsuitable(reason: &str) -> Error {
    Error::InvalidConfig { reason: reason.to_owned() }
}
