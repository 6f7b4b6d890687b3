//! The special tokens of a folder, from `tokenizer_config.json`, `special_tokens_map.json` and `generation_config.json`.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::error::Error;
use crate::tokenizer_files;

/// The special tokens of a tokenizer.
///
/// The example of [`Tokenizer`](super::Tokenizer) shows some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecialTokens {
    /// The beginning of a sequence.
    pub bos: Option<u32>,
    /// The end of a sequence.
    pub eos: Option<u32>,
    /// Fills short rows of a batch. Its predictions are not trained, and its id may be that of another token.
    pub pad: Option<u32>,
    /// Stands for text that has no token.
    pub unk: Option<u32>,
    /// Each token that ends a generated text: the one above, and those of `generation_config.json`.
    pub stop: Vec<u32>,
    /// The names that chat templates use, with their tokens: `("eos_token", "<|im_end|>")`.
    pub(super) named: Vec<(String, String)>,
}

/// The contents of the files.
pub(super) struct Declared {
    /// Each named token, in the order of its file.
    named: Vec<(String, AddedToken)>,
    /// Tokens that the vocabulary must have, in the order of their ids.
    added: Vec<AddedToken>,
    /// From `generation_config.json`.
    stop: Vec<u32>,
    /// `tokenizer_config.json` without its added tokens.
    pub(super) config: Map<String, Value>,
}

impl Declared {
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("tokenizer_config.json");
        let declared = tokenizer_files::Declared::read(folder)?;
        let named = declared.named().filter_map(|(name, value)| {
            Some((name.to_owned(), AddedToken { special: true, ..token(value)? }))
        });
        let named = named.collect();
        let tokenizer_files::Declared { config, rules, decoder } = declared;
        let mut added = Vec::new();
        if let Some(decoder) = decoder {
            let bad = || {
                let reason = "`added_tokens_decoder` is not an object of tokens by their ids";
                Error::tokenizer(&path, reason)
            };
            for (id, value) in decoder.as_object().ok_or_else(bad)? {
                added.push((id.parse::<u32>().ok(), token(value).ok_or_else(bad)?));
            }
            added.sort_by_key(|(id, _)| *id);
        }
        let mut added: Vec<AddedToken> = added.into_iter().map(|(_, token)| token).collect();
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            let listed = config.get(key).and_then(Value::as_array).into_iter().flatten();
            added.extend(listed.filter_map(token));
        }
        let stop = tokenizer_files::stop_ids(folder)?;
        Ok(Self { named, added, stop, config: rules })
    }

    /// Special tokens from elsewhere: named ones, which the vocabulary has, and further ones that end a text.
    pub(super) fn of(named: Vec<(String, String)>, stop: Vec<u32>) -> Self {
        let named = named.into_iter().map(|(name, token)| (name, AddedToken::from(token, true)));
        Self { named: named.collect(), added: Vec::new(), stop, config: Map::new() }
    }

    /// Returns the tokens that `known` does not have yet.
    pub(super) fn missing(&self, known: impl Fn(&str) -> bool) -> Vec<AddedToken> {
        let mut missing: Vec<AddedToken> = Vec::new();
        let named = self.named.iter().map(|(_, token)| token);
        for token in self.added.iter().chain(named) {
            let listed = missing.iter().any(|other| other.content == token.content);
            if !listed && !known(&token.content) {
                missing.push(token.clone());
            }
        }
        missing
    }

    /// Resolves the tokens to ids.
    pub(super) fn resolve(self, id: impl Fn(&str) -> Option<u32>) -> SpecialTokens {
        let of = |key: &str| {
            let token = self.named.iter().find(|(name, _)| name == key);
            token.and_then(|(_, token)| id(&token.content))
        };
        let eos = of("eos_token");
        let mut stop: Vec<u32> = eos.into_iter().chain(self.stop).collect();
        stop.sort_unstable();
        stop.dedup();
        SpecialTokens {
            bos: of("bos_token"),
            eos,
            pad: of("pad_token"),
            unk: of("unk_token"),
            stop,
            named: self.named.into_iter().map(|(name, token)| (name, token.content)).collect(),
        }
    }
}

/// Reads a token: its text, or an object with its options.
fn token(value: &Value) -> Option<AddedToken> {
    if let Some(content) = value.as_str() {
        return (!content.is_empty()).then(|| AddedToken::from(content, true));
    }
    let object = value.as_object()?;
    let is = |key: &str, default| object.get(key).and_then(Value::as_bool).unwrap_or(default);
    Some(AddedToken {
        content: object.get("content")?.as_str()?.to_owned(),
        single_word: is("single_word", false),
        lstrip: is("lstrip", false),
        rstrip: is("rstrip", false),
        normalized: is("normalized", true),
        special: is("special", false),
    })
}
