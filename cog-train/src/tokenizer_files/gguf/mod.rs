//! Tokenizers and chat templates in GGUF files.
//!
//! llama.cpp keeps the vocabulary and a name of the rules that split text (`tokenizer.ggml.pre`), not the rules. What is made here
//! is the `tokenizer.json` that gives the ids of the Hugging Face tokenizer of these names.

mod folder;
mod pieces;
mod rules;
mod save;
mod split;

use serde_json::{Map, Value, json};

use super::templates::DEFAULT;
use crate::error::{Error, counted, printable_name};
use crate::gguf::{self, Array, Gguf};
pub(crate) use folder::metadata;
pub(crate) use save::save;
use split::Split;

/// The key of the chat template; others have a dot and a name behind it.
const TEMPLATE: &str = "tokenizer.chat_template";
/// The key of the tokens.
const TOKENS: &str = "tokenizer.ggml.tokens";
/// The names of special tokens in chat templates, and in keys.
const NAMED: [(&str, &str); 7] = [
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("sep_token", "seperator"),
    ("pad_token", "padding"),
    ("cls_token", "cls"),
    ("mask_token", "mask"),
];
/// Further tokens that end a text: of a turn, of a message.
const STOPS: [&str; 2] = ["eot", "eom"];

/// A tokenizer that was read from a file.
pub(crate) struct Stored {
    /// A `tokenizer.json`.
    pub(crate) json: Value,
    /// The special tokens by the names of chat templates.
    pub(crate) named: Vec<(String, String)>,
    /// Further tokens that end a text.
    pub(crate) stop: Vec<u32>,
}

/// Reads the tokenizer of a file.
///
/// # Errors
///
/// [`Error::Tokenizer`] when there is none, or one of another kind.
pub(crate) fn stored(file: &Gguf) -> Result<Stored, Error> {
    read(file).map_err(|reason| Error::tokenizer(file.path(), reason))
}

/// The templates of a file, by name.
pub(super) fn templates(file: &Gguf) -> Vec<(String, String)> {
    let named = |(key, value): (&str, &gguf::Value)| {
        let name = match key.strip_prefix(TEMPLATE)? {
            "" => DEFAULT,
            rest => rest.strip_prefix('.')?,
        };
        Some((name.to_owned(), value.as_str()?.to_owned()))
    };
    file.metadata().iter().filter_map(named).collect()
}

/// The kind of a token in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
}

impl Kind {
    /// Its number in a file.
    fn number(self) -> i32 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Byte => 6,
        }
    }

    fn of(number: i64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            // An unused one may stand in the vocabulary all the same.
            _ => Self::Normal,
        }
    }
}

/// The metadata of a tokenizer.
struct Vocabulary<'a> {
    file: &'a Gguf,
    tokens: &'a [String],
    kinds: Vec<Kind>,
}

fn read(file: &Gguf) -> Result<Stored, String> {
    let vocabulary = Vocabulary::new(file)?;
    let text = |name: &str| vocabulary.get(name).and_then(gguf::Value::as_str);
    let model = text("model").ok_or("there is no `tokenizer.ggml.model`")?;
    let parts = match model {
        "gpt2" => bytes(&vocabulary, Split::named(text("pre").unwrap_or("default"))?)?,
        "llama" => pieces::parts(&vocabulary)?,
        other => {
            let other = printable_name(other);
            return Err(format!("`tokenizer.ggml.model` is `{other}`, not `gpt2` or `llama`"));
        }
    };
    let Parts { normalizer, pre_tokenizer, decoder, model, begins } = parts;
    let around = vocabulary.around(begins)?;
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": around,
        "decoder": decoder,
        "model": model,
    });
    vocabulary.with_special(json)
}

/// The parts that differ between the kinds of tokenizers.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
    /// Whether a sequence begins with BOS where no key says otherwise.
    begins: bool,
}

/// Merges of bytes (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019).
fn bytes(vocabulary: &Vocabulary, split: &Split) -> Result<Parts, String> {
    let merges = vocabulary.get("merges").and_then(gguf::Value::as_strings);
    let merges = merges.ok_or("there is no `tokenizer.ggml.merges`")?;
    let ids = vocabulary.ids();
    let is_known = |merge: &&String| {
        let parts = merge.split_once(' ');
        parts
            .is_some_and(|(a, b)| [a, b, &format!("{a}{b}")].iter().all(|it| ids.contains_key(*it)))
    };
    if let Some(merge) = merges.iter().find(|merge| !is_known(merge)) {
        let merge = printable_name(merge);
        return Err(format!(
            "`tokenizer.ggml.merges` has `{merge}`, and not all of its tokens are there"
        ));
    }
    Ok(Parts {
        normalizer: if split.composed { json!({"type": "NFC"}) } else { Value::Null },
        pre_tokenizer: split.pre_tokenizer(),
        decoder: json!({
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true
        }),
        model: json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": split.whole_words, "vocab": ids, "merges": merges,
        }),
        begins: split.begins,
    })
}

impl<'a> Vocabulary<'a> {
    fn new(file: &'a Gguf) -> Result<Self, String> {
        let get = |name: &str| file.metadata().get(&format!("tokenizer.ggml.{name}"));
        let tokens = get("tokens").and_then(gguf::Value::as_strings);
        let tokens = tokens.ok_or("there is no `tokenizer.ggml.tokens`: it has no tokenizer")?;
        let count = tokens.len();
        if count == 0 || u32::try_from(count).is_err() {
            return Err(format!("`tokenizer.ggml.tokens` has {count} tokens"));
        }
        let kinds: Vec<Kind> = match get("token_type") {
            None => vec![Kind::Normal; count],
            Some(gguf::Value::Array(Array::I32(kinds))) => {
                kinds.iter().map(|kind| Kind::of((*kind).into())).collect()
            }
            Some(_) => {
                return Err("`tokenizer.ggml.token_type` is no list of 32-bit integers".to_owned());
            }
        };
        if kinds.len() != count {
            let kinds = kinds.len();
            return Err(format!(
                "`tokenizer.ggml.token_type` has {} for {}",
                counted(kinds, "value"),
                counted(count, "token")
            ));
        }
        Ok(Self { file, tokens, kinds })
    }

    fn get(&self, name: &str) -> Option<&'a gguf::Value> {
        self.file.metadata().get(&format!("tokenizer.ggml.{name}"))
    }

    /// A switch, or its default.
    fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(gguf::Value::as_bool).unwrap_or(default)
    }

    /// The tokens with their ids. Of two alike the first counts.
    fn ids(&self) -> Map<String, Value> {
        let mut ids = Map::new();
        for (id, token) in (0_u32..).zip(self.tokens) {
            ids.entry(token.clone()).or_insert_with(|| json!(id));
        }
        ids
    }

    /// A token by the name of its key.
    fn token(&self, name: &str) -> Result<Option<(u32, &'a str)>, String> {
        let key = format!("{name}_token_id");
        let Some(value) = self.get(&key) else { return Ok(None) };
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        let found = id.and_then(|id| Some((id, self.tokens.get(id as usize)?.as_str())));
        let found = found.ok_or_else(|| {
            let shown = value.as_u64().map_or_else(|| "no token".to_owned(), |id| id.to_string());
            format!("`tokenizer.ggml.{key}` is {shown}, and there are {} tokens", self.tokens.len())
        })?;
        Ok(Some(found))
    }

    /// The tokens that are found in a text before it is split.
    fn added(&self) -> Value {
        let tokens = (0_u32..).zip(self.tokens.iter().zip(&self.kinds));
        let entry = |id: u32, token: &str, special: bool| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            })
        };
        tokens
            .filter(|(_, (token, _))| !token.is_empty())
            .filter_map(|(id, (token, kind))| match kind {
                Kind::Control | Kind::Unknown => Some(entry(id, token, true)),
                Kind::UserDefined => Some(entry(id, token, false)),
                Kind::Normal | Kind::Byte => None,
            })
            .collect()
    }

    /// The special tokens around each sequence.
    fn around(&self, begins: bool) -> Result<Value, String> {
        let mut special = Map::new();
        let mut take = |name: &str, on: bool| -> Result<Option<Value>, String> {
            let Some((id, token)) = self.token(name)?.filter(|_| on) else { return Ok(None) };
            special.insert(token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}));
            Ok(Some(json!({"SpecialToken": {"id": token, "type_id": 0}})))
        };
        let before = take("bos", self.flag("add_bos_token", begins))?;
        let after = take("eos", self.flag("add_eos_token", false))?;
        let sequence = |name: &str| Some(json!({"Sequence": {"id": name, "type_id": 0}}));
        let single = [before.clone(), sequence("A"), after.clone()];
        let pair = [before.clone(), sequence("A"), after.clone(), before, sequence("B"), after];
        let list = |parts: &[Option<Value>]| parts.iter().flatten().cloned().collect::<Vec<_>>();
        Ok(json!({
            "type": "TemplateProcessing", "single": list(&single), "pair": list(&pair),
            "special_tokens": special,
        }))
    }

    /// The tokenizer with its special tokens.
    fn with_special(&self, json: Value) -> Result<Stored, String> {
        let mut named = Vec::new();
        for (name, key) in NAMED {
            if let Some((_, token)) = self.token(key)? {
                named.push((name.to_owned(), token.to_owned()));
            }
        }
        let mut stop = Vec::new();
        for key in STOPS {
            stop.extend(self.token(key)?.map(|(id, _)| id));
        }
        Ok(Stored { json, named, stop })
    }
}
