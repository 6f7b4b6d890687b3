//! A preference: of two answers to one prompt, one is chosen and the other rejected.

use candle_core::Device;
use serde::Serialize;

use super::builder::{ExampleBuilder, unsuitable};
use super::example::{Example, Truncation};
use super::examples::Counts;
use super::formats::{Content, Row};
use crate::error::Error;
use crate::models::{AnswerLogProbs, PreferenceBatch};

/// The chosen and the rejected answer to one prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Preference {
    /// The prompt with the better answer.
    pub chosen: Example,
    /// The prompt with the worse one.
    pub rejected: Example,
    /// Their log-probabilities before the training, where [`Preferences::with_reference`](super::Preferences::with_reference)
    /// computed them.
    pub reference: Option<ReferenceLogProbs>,
}

/// The log-probabilities of the two answers, each added up over its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReferenceLogProbs {
    /// Of the chosen answer.
    pub chosen: f32,
    /// Of the rejected one.
    pub rejected: f32,
}

impl Preference {
    /// Makes the batch of some preferences, padded at the right with the token `pad`.
    ///
    /// # Errors
    ///
    /// Those of [`PreferenceBatch::new`].
    pub fn batch(pairs: &[Self], pad: u32, device: &Device) -> Result<PreferenceBatch, Error> {
        let chosen = pairs.iter().map(|pair| &pair.chosen);
        let answers: Vec<&Example> =
            chosen.chain(pairs.iter().map(|pair| &pair.rejected)).collect();
        let inputs: Vec<Vec<u32>> = answers.iter().map(|it| it.inputs().to_vec()).collect();
        let targets: Vec<Vec<u32>> = answers.iter().map(|it| it.targets()).collect();
        let batch = PreferenceBatch::new(&inputs, &targets, pad, device)?;
        let references: Option<Vec<ReferenceLogProbs>> =
            pairs.iter().map(|pair| pair.reference).collect();
        let Some(references) = references else { return Ok(batch) };
        let reference = AnswerLogProbs::new(
            &references.iter().map(|it| it.chosen).collect::<Vec<_>>(),
            &references.iter().map(|it| it.rejected).collect::<Vec<_>>(),
            device,
        )?;
        batch.with_reference(reference)
    }
}

/// The result of a row.
pub(super) enum Outcome {
    /// An answer without a token that is trained.
    Empty,
    /// Two equal answers.
    Same,
    Pair(Pair),
}

/// A preference that was made.
pub(super) struct Pair {
    pub(super) preference: Preference,
    /// The tokens of the longer text before it was truncated.
    pub(super) whole: usize,
    /// Whether no stop token ends one of the answers.
    pub(super) unstopped: bool,
}

impl ExampleBuilder<'_> {
    /// Makes the two examples of a preference; `None` when an answer is empty or both are the same.
    ///
    /// A pair that is too long loses the start of its prompt, the same in both, as far as to half of the limit; then its answers
    /// lose their ends. The first token stays. [`truncation`](Self::truncation) does not count.
    ///
    /// # Errors
    ///
    /// Those of [`ExampleBuilder::of`].
    pub fn preference(&self, row: &Row) -> Result<Option<Preference>, Error> {
        Ok(match self.pair(row)? {
            Outcome::Pair(pair) => Some(pair.preference),
            Outcome::Empty | Outcome::Same => None,
        })
    }

    pub(super) fn pair(&self, row: &Row) -> Result<Outcome, Error> {
        let Row::Preference { prompt, chosen, rejected } = row else {
            return Err(unsuitable(
                "a preference has `chosen` and `rejected`, and may have a `prompt`",
            ));
        };
        // Both are truncated together.
        let whole = self.untruncated();
        let mut counts = Counts::default();
        let mut one = |answer: &Content| {
            let answered = Row::Completion { prompt: prompt.clone(), completion: answer.clone() };
            Ok::<_, Error>(whole.build(&answered, &mut counts)?.pop())
        };
        let (Some(chosen), Some(rejected)) = (one(chosen)?, one(rejected)?) else {
            return Ok(Outcome::Empty);
        };
        let whole = chosen.ids().len().max(rejected.ids().len());
        let [chosen, rejected] = truncated([chosen, rejected], self.limit());
        if chosen == rejected {
            return Ok(Outcome::Same);
        }
        let preference = Preference { chosen, rejected, reference: None };
        Ok(Outcome::Pair(Pair { preference, whole, unstopped: counts.unstopped > 0 }))
    }
}

/// Drops tokens of two answers to one prompt until each has at most `most`.
fn truncated(answers: [Example; 2], most: usize) -> [Example; 2] {
    if answers.iter().all(|answer| answer.ids().len() <= most) {
        return answers;
    }
    let prompt_of = |answer: &Example| answer.trained().first().map_or(0, |range| range.start);
    let prompt = answers.iter().map(prompt_of).min().unwrap_or(0);
    let longest = answers.iter().map(|answer| answer.ids().len() - prompt).max().unwrap_or(0);
    let kept = most.saturating_sub(longest).max(most / 2).min(prompt);
    answers.map(|answer| {
        let left = answer.ids().len() - (prompt - kept);
        answer.truncate(left, Truncation::Start).truncate(most, Truncation::End)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt of `prompt` tokens from 100 on, and an answer of `answer` tokens from `from` on.
    fn example(prompt: u32, answer: u32, from: u32) -> Example {
        let ids = (100..100 + prompt).chain(from..from + answer).collect();
        Example::completion(ids, prompt as usize)
    }

    #[test]
    fn the_end_of_the_prompt_is_kept_and_is_the_same_for_both() {
        for (prompt, answers, most, kept, left) in [
            (6, [3, 2], 9, 6, [3, 2]),
            (6, [3, 2], 7, 4, [3, 2]),
            (6, [5, 2], 8, 4, [4, 2]), // half of the limit is the prompt's
            (6, [1, 9], 8, 4, [1, 4]),
            (2, [9, 9], 8, 2, [6, 6]),
            (9, [1, 2], 2, 1, [1, 1]),
        ] {
            let whole = [(0, 200), (1, 300)].map(|(at, from)| example(prompt, answers[at], from));
            let found = truncated(whole, most);
            for ((found, left), from) in found.iter().zip(left).zip([200, 300]) {
                let tail = 100 + prompt - (kept - 1)..100 + prompt;
                let expected: Vec<u32> =
                    [100].into_iter().chain(tail).chain(from..from + left).collect();
                assert_eq!(found.ids(), expected, "{prompt} {answers:?} {most}");
                let trained = kept as usize..(kept + left) as usize;
                assert_eq!(found.trained(), [trained], "{prompt} {answers:?} {most}");
            }
        }
    }
}
