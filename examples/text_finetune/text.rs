//! From text to tensors: the tokenizer, examples that say which of their tokens are learned, and padded batches.

use std::borrow::Borrow;

use candle_core::{Device, Tensor};
use cog_train::candle_core;
use cog_train::prelude::*;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::data::Row;

/// Ends a text, and stands before it.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// A tokenizer that knows [`END_OF_TEXT`].
pub struct Text {
    tokenizer: Tokenizer,
    end: u32,
}

/// Tokens, of which those from `learn_from` on are to be predicted. The one before the first of them is always there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    pub tokens: Vec<u32>,
    pub learn_from: usize,
    /// Whether a part of the row had no room in it and is lost.
    pub cut: bool,
}

impl Text {
    /// From the bytes of a `tokenizer.json`.
    pub fn new(tokenizer_json: &[u8]) -> Result<Self> {
        let tokenizer = Tokenizer::from_bytes(tokenizer_json).map_err(anyhow::Error::from_boxed)?;
        let end = tokenizer.token_to_id(END_OF_TEXT);
        Ok(Self { end: end.context("the tokenizer has no `<|endoftext|>`")?, tokenizer })
    }

    /// The token that ends a text.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Line by line, so that a whole book can be read without the tokenizer's copies of it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        for line in text.split_inclusive('\n') {
            let line =
                self.tokenizer.encode_fast(line, false).map_err(anyhow::Error::from_boxed)?;
            tokens.extend(line.get_ids());
        }
        Ok(tokens)
    }

    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.decode(tokens, true).map_err(anyhow::Error::from_boxed)
    }

    /// Returns the text that a model is to continue: an example's prompt, or the first words of its text.
    pub fn opening(&self, example: &Example) -> Result<String> {
        let given =
            if example.learn_from > 1 { example.learn_from } else { 8.min(example.tokens.len()) };
        self.decode(&example.tokens[..given])
    }

    /// Returns the examples of a row for a model of `context` tokens. Every example is at most `context + 1` long.
    ///
    /// A text is learned whole, its end included; one that is too long becomes several examples. Of a pair only the
    /// completion and its end are learned; where the two are too long, the beginning of the prompt is cut first, then
    /// the end of the completion.
    pub fn examples(&self, row: &Row, context: usize) -> Result<Vec<Example>> {
        match row {
            Row::Text(text) => Ok(self.windows(self.encode(text)?, context)),
            Row::Pair { prompt, completion } => {
                let mut prompt = self.encode(prompt)?;
                let mut completion = self.encode(completion)?;
                completion.push(self.end);
                let cut = prompt.len() + completion.len() > context;
                let kept = context.saturating_sub(completion.len()).max(context / 2);
                prompt.drain(..prompt.len().saturating_sub(kept));
                completion.truncate(context - prompt.len());
                let learn_from = 1 + prompt.len();
                let tokens = [vec![self.end], prompt, completion].concat();
                Ok(vec![Example { tokens, learn_from, cut }])
            }
        }
    }

    /// The tokens of a text that comes in pieces: those of the whole.
    pub fn encode_pieces(&self, pieces: impl Iterator<Item = Result<String>>) -> Result<Vec<u32>> {
        let (mut tokens, mut line) = (Vec::new(), String::new());
        for piece in pieces {
            line.push_str(&piece?);
            // What comes after the last line break may be half of a word.
            let whole = line.rfind('\n').map_or(0, |at| at + 1);
            tokens.extend(self.encode(&line[..whole])?);
            line.drain(..whole);
        }
        tokens.extend(self.encode(&line)?);
        Ok(tokens)
    }

    /// Cuts a text, its end included, so that each token is learned exactly once: windows share one token.
    pub fn windows(&self, text: Vec<u32>, context: usize) -> Vec<Example> {
        let tokens = [vec![self.end], text, vec![self.end]].concat();
        (0..tokens.len() - 1)
            .step_by(context)
            .map(|start| Example {
                tokens: tokens[start..tokens.len().min(start + context + 1)].to_vec(),
                learn_from: 1,
                cut: false,
            })
            .collect()
    }
}

/// Examples side by side, padded at the right to the longest.
pub struct Batch {
    /// [batch, length]
    pub tokens: Tensor,
    /// Where, in the flattened tokens, the next token is to be predicted.
    pub positions: Tensor,
    /// The token after each of these.
    pub targets: Tensor,
    /// The number of targets: what a sum of losses is divided by.
    pub weight: usize,
}

impl Batch {
    pub fn new(examples: &[impl Borrow<Example>], device: &Device) -> Result<Self> {
        let examples: Vec<&Example> = examples.iter().map(Borrow::borrow).collect();
        let length = examples.iter().map(|example| example.tokens.len() - 1).max().unwrap_or(0);
        let (mut tokens, mut positions, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for example in &examples {
            let row = tokens.len();
            let (_, inputs) = example.tokens.split_last().context("an example has no tokens")?;
            tokens.extend(inputs);
            tokens.resize(row + length, 0);
            for at in example.learn_from..example.tokens.len() {
                positions.push(u32::try_from(row + at - 1)?);
                targets.push(example.tokens[at]);
            }
        }
        let weight = targets.len();
        Ok(Self {
            tokens: Tensor::from_vec(tokens, (examples.len(), length), device)?,
            positions: Tensor::from_vec(positions, weight, device)?,
            targets: Tensor::from_vec(targets, weight, device)?,
            weight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Text {
        Text::new(include_bytes!("base/tokenizer.json")).unwrap()
    }

    #[test]
    fn any_text_comes_back() {
        let text = text();
        for written in ["Anna is happy.", "  two  spaces\n\n\tand lines\r\n", "Füße 🦜 日本", ""]
        {
            assert_eq!(text.decode(&text.encode(written).unwrap()).unwrap(), written);
        }
    }

    #[test]
    fn in_whatever_pieces_a_text_comes_its_tokens_are_the_same() {
        let text = text();
        let written = "one two\nthree four\n\nfive six seven eight nine\nten";
        let whole = text.encode(written).unwrap();
        for size in [1, 3, 8, 20, 100] {
            let characters: Vec<char> = written.chars().collect();
            let pieces = characters.chunks(size).map(|piece| Ok(piece.iter().collect()));
            assert_eq!(text.encode_pieces(pieces).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn of_a_text_each_token_and_its_end_are_learned_once() {
        let text = text();
        let written = "one two three four five six seven";
        let tokens = text.encode(written).unwrap();
        for context in [1, 3, tokens.len(), tokens.len() + 1, 100] {
            let examples = text.examples(&Row::Text(written.to_owned()), context).unwrap();
            assert!(examples.iter().all(|example| example.tokens.len() <= context + 1));
            assert_eq!(examples[0].tokens[0], text.end());
            let learned: Vec<u32> = examples
                .iter()
                .flat_map(|example| example.tokens[example.learn_from..].to_vec())
                .collect();
            assert_eq!(learned, [tokens.clone(), vec![text.end()]].concat(), "{context}");
        }
    }

    #[test]
    fn of_a_pair_the_completion_and_its_end_are_learned() {
        let text = text();
        let row =
            Row::Pair { prompt: "How are you?".to_owned(), completion: " Very well.".to_owned() };
        let [example] = &text.examples(&row, 100).unwrap()[..] else { panic!("one example") };
        assert_eq!(text.opening(example).unwrap(), "How are you?");
        let (learned, end) =
            (&example.tokens[example.learn_from..], *example.tokens.last().unwrap());
        assert_eq!(text.decode(learned).unwrap(), " Very well.");
        assert_eq!(end, text.end());
    }

    #[test]
    fn a_pair_that_is_too_long_loses_the_start_of_its_prompt_then_the_end_of_its_completion() {
        let text = text();
        let row = |prompt: usize, completion: usize| Row::Pair {
            prompt: "a".repeat(prompt),
            completion: "b".repeat(completion),
        };
        let count =
            |letter: &str, number: usize| text.encode(&letter.repeat(number)).unwrap().len();
        for (prompt, completion) in [(50, 4), (4, 50), (50, 50), (3, 3)] {
            let [example] = &text.examples(&row(prompt, completion), 10).unwrap()[..] else {
                panic!("one example")
            };
            let (given, learned) = example.tokens.split_at(example.learn_from);
            assert!(example.tokens.len() <= 11 && !learned.is_empty());
            assert_eq!(example.cut, count("a", prompt) + count("b", completion) + 1 > 10);
            assert!(given.len() > count("a", prompt).min(5), "half of the room is the prompt's");
            assert_eq!(learned.len(), (count("b", completion) + 1).min(11 - given.len()));
        }
    }

    #[test]
    fn a_batch_points_at_targets_and_pads_at_the_right() {
        let examples = [
            Example { tokens: vec![9, 1, 2], learn_from: 1, cut: false },
            Example { tokens: vec![9, 3, 4, 5, 6], learn_from: 3, cut: false },
        ];
        let batch = Batch::new(&examples, &Device::Cpu).unwrap();
        assert_eq!(batch.tokens.to_vec2::<u32>().unwrap(), [[9, 1, 0, 0], [9, 3, 4, 5]]);
        assert_eq!(batch.positions.to_vec1::<u32>().unwrap(), [0, 1, 6, 7]);
        assert_eq!(batch.targets.to_vec1::<u32>().unwrap(), [1, 2, 5, 6]);
        assert_eq!(batch.weight, 4);
    }
}
