//! The special tokens of a folder, from `tokenizer_config.json`, `special_tokens_map.json` and `generation_config.json`.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::files::read_object;
use super::llama;
use crate::error::Error;

/// The keys of the tokens that every family knows; others that end in `_token` belong to one model.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

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
        let mut config = read_object(&path)?;
        let decoder = config.remove("added_tokens_decoder");
        if decoder.is_none() {
            // As in `transformers`, the older file counts where the newer one does not list tokens itself.
            config.extend(read_object(&folder.join("special_tokens_map.json"))?);
        }
        let rules = config.clone();
        llama::name_defaults(&mut config);
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
        let stop = stop_ids(&folder.join("generation_config.json"))?;
        Ok(Self { named: named(&config), added, stop, config: rules })
    }

    /// Special tokens from elsewhere: named ones, which the vocabulary has, and further ones that end a text.
    pub(super) fn of(named: Vec<(String, AddedToken)>, stop: Vec<u32>) -> Self {
        Self { named, added: Vec::new(), stop, config: Map::new() }
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

fn named(config: &Map<String, Value>) -> Vec<(String, AddedToken)> {
    let is_token = |key: &&String| NAMED.contains(&key.as_str()) || key.ends_with("_token");
    let of = |key: &String| Some((key.clone(), special(token(config.get(key)?)?)));
    config.keys().filter(is_token).filter_map(of).collect()
}

fn special(token: AddedToken) -> AddedToken {
    AddedToken { special: true, ..token }
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

/// Reads `eos_token_id`, one id or several.
fn stop_ids(path: &Path) -> Result<Vec<u32>, Error> {
    let config = read_object(path)?;
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match config.get("eos_token_id") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(one) => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| {
        Error::tokenizer(path, "`eos_token_id` is neither a token id nor a list of token ids")
    })
}
