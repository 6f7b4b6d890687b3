//! The special tokens that a folder declares beside its vocabulary.

use std::path::Path;

use serde_json::{Map, Value};

use super::llama;
use super::read::read_object;
use crate::error::Error;

/// The keys of the tokens that every family knows; others that end in `_token` belong to one model.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The contents of `tokenizer_config.json` and `special_tokens_map.json`.
pub(crate) struct Declared {
    /// With the tokens that the tokenizer's class has where none are named.
    pub(crate) config: Map<String, Value>,
    /// As the files are.
    pub(crate) rules: Map<String, Value>,
    /// `added_tokens_decoder`.
    pub(crate) decoder: Option<Value>,
}

impl Declared {
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let mut config = read_object(&folder.join("tokenizer_config.json"))?;
        let decoder = config.remove("added_tokens_decoder");
        if decoder.is_none() {
            // As in `transformers`, the older file counts where the newer one does not list tokens itself.
            config.extend(read_object(&folder.join("special_tokens_map.json"))?);
        }
        let rules = config.clone();
        llama::name_defaults(&mut config);
        Ok(Self { config, rules, decoder })
    }

    /// The texts of all tokens, those of the vocabulary too, in the order in which one that it lacks is added to it.
    pub(super) fn texts(&self) -> Vec<&str> {
        let decoder = self.decoder.as_ref().and_then(Value::as_object).into_iter().flatten();
        let mut added: Vec<(Option<u32>, &Value)> =
            decoder.map(|(id, value)| (id.parse().ok(), value)).collect();
        added.sort_by_key(|(id, _)| *id);
        let listed = ["additional_special_tokens", "extra_special_tokens"]
            .into_iter()
            .filter_map(|key| self.config.get(key)?.as_array())
            .flatten();
        let added = added.into_iter().map(|(_, value)| value);
        let named = self.named().map(|(_, value)| value);
        added.chain(listed).chain(named).filter_map(text).collect()
    }

    /// The tokens by name, in the order of their file: a text, or an object with options.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &Value)> {
        let is_token = |key: &str| NAMED.contains(&key) || key.ends_with("_token");
        self.config
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .filter(move |(key, _)| is_token(key))
    }
}

/// The text of a token: a string, or an object with options.
pub(super) fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str()).filter(|text| !text.is_empty())
}
