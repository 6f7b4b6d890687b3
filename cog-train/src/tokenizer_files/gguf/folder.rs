//! The tokenizer of a folder as metadata.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::pieces::merges;
use super::rules::{Around, of_type, pairs, spaced, split};
use super::split::Split;
use super::{Kind, NAMED, STOPS, TEMPLATE};
use crate::error::{Error, printable_name};
use crate::gguf::Metadata;
use crate::tokenizer_files::declared::{Declared, text};
use crate::tokenizer_files::llama::rebuild;
use crate::tokenizer_files::read::{read, stop_ids};
use crate::tokenizer_files::templates::{DEFAULT, of_folder};

/// The kind of a token that stands for a row of the embedding without one.
const UNUSED: i32 = 5;
/// The most merges and scores of a vocabulary, which are counted in 32-bit floats.
const COUNTED: usize = 1 << 24;

/// Returns the metadata of a folder's tokenizer for a model with an embedding of `rows` rows. What is read back from it gives the
/// same ids.
///
/// # Errors
///
/// [`Error::Tokenizer`] when there is none, or its rules have no name in llama.cpp: it names them; [`Error::File`].
pub(crate) fn metadata(folder: &Path, rows: usize) -> Result<Metadata, Error> {
    let path = folder.join("tokenizer.json");
    let refused = |reason: String| Error::tokenizer(&path, reason);
    let json = read(&path)?.ok_or_else(|| {
        Error::tokenizer(
            folder,
            "there is no `tokenizer.json`, and a GGUF file has its tokenizer in it",
        )
    })?;
    let declared = Declared::read(folder)?;
    let json = rebuild(&json, &declared.rules, folder)?.unwrap_or(json);
    let json: Value =
        serde_json::from_str(&json).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let cannot = |reason: String| {
        let hint = "hint: save a folder, and convert it with llama.cpp's `convert_hf_to_gguf.py`";
        refused(format!("{reason}, which a GGUF file cannot express\n{hint}"))
    };
    let kind = json["model"]["type"].as_str().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(cannot(format!("the model is `{}`", printable_name(kind))));
    }
    let vocabulary = Vocabulary::read(&json, &declared, rows).map_err(refused)?;
    let mut metadata = vocabulary.metadata(&json).map_err(cannot)?;
    let around = Around::read(&json["post_processor"]).map_err(refused)?;
    vocabulary.special(&declared, &around, &mut metadata).map_err(refused)?;
    let end = metadata.get("tokenizer.ggml.eos_token_id").and_then(crate::gguf::Value::as_u64);
    let stop = stop_ids(folder)?;
    let mut stop = stop.into_iter().filter(|id| Some(u64::from(*id)) != end);
    for (key, id) in STOPS.into_iter().zip(stop.by_ref()) {
        metadata.insert(format!("tokenizer.ggml.{key}_token_id"), id);
    }
    if let Some(id) = stop.next() {
        let reason =
            format!("the token {id} ends a text too, and a GGUF file has 3 such tokens at most");
        return Err(refused(reason));
    }
    let mut names = Vec::new();
    for (name, template) in of_folder(folder)? {
        if name == DEFAULT {
            metadata.insert(TEMPLATE, template);
        } else {
            metadata.insert(format!("{TEMPLATE}.{name}"), template);
            names.push(name);
        }
    }
    if !names.is_empty() {
        metadata.insert("tokenizer.chat_templates", names);
    }
    Ok(metadata)
}

/// The tokens of a `tokenizer.json`, by id.
struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<Option<Kind>>,
}

impl Vocabulary {
    fn read(json: &Value, declared: &Declared, rows: usize) -> Result<Self, String> {
        let mut found: Vec<(usize, String, Kind)> = Vec::new();
        let id = |id: &Value| id.as_u64().and_then(|id| usize::try_from(id).ok());
        let pieces = json["model"]["byte_fallback"] == true;
        for (token, at) in json["model"]["vocab"].as_object().into_iter().flatten() {
            let is_byte =
                pieces && token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
            let is_unknown = pieces && json["model"]["unk_token"] == **token;
            let kind = match (is_byte, is_unknown) {
                (true, _) => Kind::Byte,
                (_, true) => Kind::Unknown,
                _ => Kind::Normal,
            };
            let at = id(at).ok_or_else(|| format!("`{}` has no id", printable_name(token)))?;
            found.push((at, token.clone(), kind));
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let content = added["content"].as_str().unwrap_or_default();
            let at = id(&added["id"]).ok_or("an added token has no id")?;
            // Spaces around a token are its own in llama.cpp.
            for rule in ["lstrip", "rstrip", "single_word"] {
                if added[rule] == true {
                    let content = printable_name(content);
                    return Err(format!(
                        "the token `{content}` has the rule `{rule}`, which a GGUF file cannot express"
                    ));
                }
            }
            let is_unknown = pieces && json["model"]["unk_token"] == *content;
            let kind = match (is_unknown, added["special"] == true) {
                (true, _) => Kind::Unknown,
                (false, true) => Kind::Control,
                (false, false) => Kind::UserDefined,
            };
            found.push((at, content.to_owned(), kind));
        }
        let mut count = found.iter().map(|(at, ..)| at.saturating_add(1)).max().unwrap_or(0);
        let known: HashSet<String> = found.iter().map(|(_, token, _)| token.clone()).collect();
        let mut missing: Vec<&str> = Vec::new();
        for token in declared.texts() {
            if !known.contains(token) && !missing.contains(&token) {
                missing.push(token);
                found.push((count, token.to_owned(), Kind::Control));
                count += 1;
            }
        }
        if count == 0 || count > rows {
            return Err(format!(
                "it has {count} tokens, and the model's embedding has {rows} rows"
            ));
        }
        let mut tokens: Vec<String> = (0..rows).map(|at| format!("[PAD{at}]")).collect();
        let mut kinds = vec![None; rows];
        for (at, token, kind) in found {
            (tokens[at], kinds[at]) = (token, Some(kind));
        }
        Ok(Self { tokens, kinds })
    }

    /// The vocabulary and the name of the rules that split a text.
    fn metadata(&self, json: &Value) -> Result<Metadata, String> {
        let model = &json["model"];
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model[key].as_str().is_some_and(|text| !text.is_empty()) {
                return Err(format!("`{key}` is {}", model[key]));
            }
        }
        let mut metadata = Metadata::new();
        if model["byte_fallback"] == true {
            self.pieces(json, &mut metadata)?;
        } else {
            bytes(json, &mut metadata)?;
        }
        metadata.insert("tokenizer.ggml.tokens", self.tokens.clone());
        let kinds = self.kinds.iter().map(|kind| kind.map_or(UNUSED, Kind::number));
        metadata.insert("tokenizer.ggml.token_type", kinds.collect::<Vec<i32>>());
        Ok(metadata)
    }

    /// Pieces of `SentencePiece`, whose scores order the merges.
    fn pieces(&self, json: &Value, metadata: &mut Metadata) -> Result<(), String> {
        let spaced = spaced(json)?;
        let expected = pairs(json)?;
        let (count, none) = (self.tokens.len().min(COUNTED), -f32::MAX);
        let mut scores = vec![none; self.tokens.len()];
        let ids: HashMap<&str, usize> =
            self.tokens.iter().enumerate().map(|(at, token)| (token.as_str(), at)).collect();
        let mut next = 0;
        for [first, second] in &expected {
            let Some(at) = ids.get(&*format!("{first}{second}")) else { continue };
            if scores[*at].total_cmp(&none).is_eq() {
                #[expect(clippy::cast_precision_loss, reason = "at most 2^24")]
                let score = -(next.min(count) as f32);
                scores[*at] = score;
                next += 1;
            }
        }
        let kinds: Vec<Kind> = self.kinds.iter().map(|kind| kind.unwrap_or(Kind::Byte)).collect();
        if merges(&self.tokens, &kinds, &scores) != expected {
            return Err("its merges are not those of one score for each piece".to_owned());
        }
        metadata.insert("tokenizer.ggml.model", "llama");
        metadata.insert("tokenizer.ggml.pre", "default");
        metadata.insert("tokenizer.ggml.scores", scores);
        metadata.insert("tokenizer.ggml.add_space_prefix", spaced);
        Ok(())
    }

    /// The special tokens, and those around each sequence.
    fn special(
        &self,
        declared: &Declared,
        around: &Around,
        metadata: &mut Metadata,
    ) -> Result<(), String> {
        let id_of = |token: &str| {
            let at = self.tokens.iter().position(|other| other == token);
            let at = at.and_then(|at| u32::try_from(at).ok());
            at.ok_or_else(|| format!("the token `{}` has no id", printable_name(token)))
        };
        let named: HashMap<&str, &Value> = declared.named().collect();
        for (name, key) in NAMED {
            if let Some(token) = named.get(name).copied().and_then(text) {
                metadata.insert(format!("tokenizer.ggml.{key}_token_id"), id_of(token)?);
            }
        }
        for (key, token) in [("bos", &around.before), ("eos", &around.after)] {
            let name = format!("tokenizer.ggml.{key}_token_id");
            if let Some(token) = token {
                let (id, own) =
                    (id_of(token)?, metadata.get(&name).and_then(crate::gguf::Value::as_u64));
                if own.is_some_and(|own| own != u64::from(id)) {
                    let token = printable_name(token);
                    return Err(format!(
                        "`{token}` stands around each sequence, and is not the `{key}_token`, which a GGUF file cannot express"
                    ));
                }
                metadata.insert(name, id);
            }
            metadata.insert(format!("tokenizer.ggml.add_{key}_token"), token.is_some());
        }
        Ok(())
    }
}

/// Merges of bytes.
fn bytes(json: &Value, metadata: &mut Metadata) -> Result<(), String> {
    let normalizer = &json["normalizer"];
    let composed = normalizer["type"] == "NFC";
    if !normalizer.is_null() && !composed {
        return Err(format!("the normalizer is {}", of_type(normalizer)));
    }
    let mut expressions = Vec::new();
    split(&json["pre_tokenizer"], &mut expressions)?;
    let whole_words = json["model"]["ignore_merges"] == true;
    let name = Split::name_of(&expressions, composed, whole_words).ok_or_else(|| {
        let shown: Vec<_> =
            expressions.iter().map(|it| format!("`{}`", printable_name(it))).collect();
        let more = if whole_words { ", with `ignore_merges`" } else { "" };
        format!("a text is split by {}{more}", shown.join(", "))
    })?;
    metadata.insert("tokenizer.ggml.model", "gpt2");
    metadata.insert("tokenizer.ggml.pre", name);
    let merges: Vec<String> = pairs(json)?.into_iter().map(|pair| pair.join(" ")).collect();
    metadata.insert("tokenizer.ggml.merges", merges);
    Ok(())
}
