//! The class `LlamaTokenizer`, whose rules for spaces are its own and not those of `tokenizer.json`.
//!
//! `transformers` 5 takes the vocabulary, the merges and the special tokens from the file, and makes the rest itself, by the keys
//! `legacy` and `add_prefix_space` of `tokenizer_config.json`: with `legacy` each piece of text between special tokens begins with
//! a space, else the whole text alone.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::read::read_object;
use crate::error::Error;

/// Returns the `tokenizer.json` that the class of a folder makes of the one in it; `None` when it is that one.
pub(crate) fn rebuild(
    json: &str,
    config: &Map<String, Value>,
    folder: &Path,
) -> Result<Option<String>, Error> {
    if !is_class(config) {
        return Ok(None);
    }
    let model = read_object(&folder.join("config.json"))?;
    // Other families with this class are opened as the file says.
    let is_llama = |model: &str| matches!(model, "" | "llama" | "idefics" | "idefics2");
    if !is_llama(model.get("model_type").and_then(Value::as_str).unwrap_or_default()) {
        return Ok(None);
    }
    // What is not a tokenizer is refused where it is opened.
    let Ok(mut file) = serde_json::from_str::<Value>(json) else { return Ok(None) };
    let byte_level = |key: &str| file[key].to_string().contains("\"ByteLevel\"");
    if file["model"]["type"] != "BPE" || byte_level("pre_tokenizer") || byte_level("decoder") {
        return Ok(None);
    }
    let is = |key: &str, default| config.get(key).and_then(Value::as_bool).unwrap_or(default);
    let spaces = is("add_prefix_space", true);
    let scheme = match (spaces, is("legacy", false)) {
        (false, _) => "never",
        (true, true) => "always",
        (true, false) => "first",
    };
    file["normalizer"] = Value::Null;
    file["pre_tokenizer"] = json!({
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false
    });
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if spaces {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    file["decoder"] = json!({ "type": "Sequence", "decoders": decoders });
    for (key, value) in
        [("byte_fallback", json!(true)), ("fuse_unk", json!(true)), ("unk_token", Value::Null)]
    {
        file["model"][key] = value;
    }
    Ok(Some(file.to_string()))
}

/// The tokens of the class where the configuration names none.
pub(super) fn name_defaults(config: &mut Map<String, Value>) {
    if is_class(config) {
        for (name, token) in [("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")] {
            config.entry(name).or_insert_with(|| token.into());
        }
    }
}

fn is_class(config: &Map<String, Value>) -> bool {
    let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    class.trim_end_matches("Fast") == "LlamaTokenizer"
}
