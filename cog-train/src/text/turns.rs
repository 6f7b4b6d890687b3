//! The trained tokens of a conversation: the assistant's turns, each with the token that ends it.

use std::ops::Range;

use super::spans::Spans;
use super::template::{Chat, ChatTemplate, Ending};
use super::tokenizer::Tokenizer;
use crate::error::{Error, printable};

/// The assistant's turns that are trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turns {
    /// Each of them.
    #[default]
    All,
    /// The last one. It fits templates that render earlier answers in another way, such as without their reasoning.
    Last,
}

/// The tokens of a conversation.
pub(super) struct ChatTokens {
    pub(super) ids: Vec<u32>,
    /// One range for each trained turn.
    pub(super) trained: Vec<Range<usize>>,
    /// The trained turns without a stop token.
    pub(super) unstopped: usize,
}

/// Encodes a conversation. Turns before the message at `first` are not trained.
pub(super) fn encode(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    chat: &Chat,
    first: usize,
    turns: Turns,
) -> Result<ChatTokens, Error> {
    let is_answer = |at: &usize| chat.messages()[*at]["role"] == "assistant";
    let answers: Vec<usize> = (first..chat.messages().len()).filter(is_answer).collect();
    let answers = match turns {
        Turns::All => &answers[..],
        Turns::Last => &answers[answers.len().saturating_sub(1)..],
    };
    let rendered = template.render(chat, Ending::Closed)?;
    let encoded = tokenizer.encode_spans(&rendered.text)?;
    let whole = Whole { template, tokenizer, chat, text: &rendered.text, encoded: &encoded };
    let trained = match &rendered.assistant {
        Some(spans) => whole.marked(spans, answers)?,
        None => answers.iter().map(|at| whole.answer(*at)).collect::<Result<_, _>>()?,
    };
    let trained: Vec<Range<usize>> =
        trained.into_iter().filter(|range| !range.is_empty()).collect();
    let stops = |range: &&Range<usize>| whole.stop(range).is_some();
    let unstopped = trained.len() - trained.iter().filter(stops).count();
    Ok(ChatTokens { ids: encoded.ids, trained, unstopped })
}

/// A conversation, rendered and encoded.
struct Whole<'a> {
    template: &'a ChatTemplate,
    tokenizer: &'a Tokenizer,
    chat: &'a Chat,
    text: &'a str,
    encoded: &'a Spans,
}

impl Whole<'_> {
    /// The tokens that the template marks, from the first of the `answers` on.
    fn marked(
        &self,
        spans: &[Range<usize>],
        answers: &[usize],
    ) -> Result<Vec<Range<usize>>, Error> {
        let Some(first) = answers.first() else { return Ok(Vec::new()) };
        let before = match first {
            0 => 0,
            first => {
                let prompt =
                    self.template.render(&self.chat.prefix(*first), Ending::GenerationPrompt)?;
                common(&prompt.text, self.text)
            }
        };
        let later: Vec<Range<usize>> =
            spans.iter().filter(|span| span.end > before).cloned().collect();
        let mask = self.encoded.overlap(&later);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, _) in mask.iter().enumerate().filter(|(_, is_marked)| **is_marked) {
            match runs.last_mut() {
                Some(run) if run.end == at => run.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
        Ok(runs)
    }

    /// The tokens of the message at `at`, found by rendering the conversation up to it: with a generation prompt it ends where
    /// the answer begins, and with the message it ends where the answer does.
    fn answer(&self, at: usize) -> Result<Range<usize>, Error> {
        if at == 0 {
            // Nothing comes before it that it could answer.
            return Ok(0..0);
        }
        let prompt = self.template.render(&self.chat.prefix(at), Ending::GenerationPrompt)?.text;
        let ids = self.tokenizer.encode_plain(&prompt)?;
        if !self.text.starts_with(&prompt) || !self.encoded.ids.starts_with(&ids) {
            return Err(self.differs(at, &prompt));
        }
        let closed = self.template.render(&self.chat.prefix(at + 1), Ending::Closed)?.text;
        let end = common(&closed, self.text);
        let end = self.encoded.offsets.partition_point(|(_, byte)| *byte <= end).max(ids.len());
        let answer = ids.len()..end;
        if let Some(stop) = self.stop(&answer) {
            return Ok(answer.start..stop + 1);
        }
        if self.text.starts_with(&closed) {
            return Ok(answer);
        }
        self.until_stop(at, answer.start).ok_or_else(|| self.differs(at, &closed))
    }

    /// The answer from `start` to the next stop token, if that is the message at `at`, whole. So it is in templates that render
    /// the last answer in another way than those before.
    fn until_stop(&self, at: usize, start: usize) -> Option<Range<usize>> {
        let stop = &self.tokenizer.special().stop;
        let end =
            (start..self.encoded.ids.len()).find(|at| stop.contains(&self.encoded.ids[*at]))?;
        let bytes = self.encoded.offsets[start].0..self.encoded.offsets[end].0;
        let answer = self.text.get(bytes)?.trim();
        let content = self.chat.messages()[at]["content"].as_str()?.trim();
        (!content.is_empty() && answer.ends_with(content)).then_some(start..end + 1)
    }

    /// The last stop token in a range.
    fn stop(&self, range: &Range<usize>) -> Option<usize> {
        let stop = &self.tokenizer.special().stop;
        range.clone().rev().find(|at| stop.contains(&self.encoded.ids[*at]))
    }

    fn differs(&self, at: usize, part: &str) -> Error {
        let border = common(part, self.text);
        let from = part[..border].char_indices().rev().nth(19).map_or(0, |(at, _)| at);
        let shown = |text: &str| {
            let text: String = text[from..].chars().take(60).collect();
            printable(text)
        };
        self.template.failed(format!(
            "rendered up to the answer in message {}, the conversation is not how the whole of it begins, so that the \
             answer's tokens cannot be found\n  \
             up to it: `{}`\n  the whole: `{}`\n\
             hint: put the assistant's part of the template into `{{% generation %}}` and `{{% endgeneration %}}`, or train \
             the last turn only",
            at + 1,
            shown(part),
            shown(self.text)
        ))
    }
}

/// The length in bytes of the common beginning of two texts.
fn common(one: &str, other: &str) -> usize {
    let same = one.char_indices().zip(other.chars()).find(|((_, one), other)| one != other);
    same.map_or(one.len().min(other.len()), |((at, _), _)| at)
}
