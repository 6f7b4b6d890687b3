//! The files that are needed, of those that a repository has.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::pattern::Pattern;
use crate::error::{Error, printable, printable_name};
use crate::message::nearest;

pub(super) const MODEL: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The files of a model beside its weights: configurations, tokenizers, chat templates, and the modules of
/// sentence-transformers.
const BESIDE: &[&str] = &[
    "*.json",
    "*.txt",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "additional_chat_templates/*.jinja",
    "?_*/config.json",
    "?_*/model.safetensors",
];
/// The most bytes of an index; the largest open models have 5 MB.
const INDEX_BYTES: u64 = 100_000_000;

/// The files that are wanted.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// Those of a model: its safetensors weights, its configuration and its tokenizer.
    Model,
    /// Those of these names, and those that fit these patterns.
    Files(Vec<String>),
}

/// The files that are needed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) names: Vec<String>,
    /// The index is one of them, and names the files of the weights.
    pub(super) sharded: bool,
}

/// The reason for which there is nothing to select.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lack {
    /// `no file ...`
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

/// Selects the files that are needed.
pub(super) fn select(files: &[String], wanted: &Wanted) -> Result<Selection, Lack> {
    let Wanted::Files(patterns) = wanted else { return select_model(files) };
    let has_safetensors = files.iter().any(|name| has_extension(name, &["safetensors"]));
    let mut names = BTreeSet::new();
    for pattern in patterns.iter().map(|text| Pattern::new(text)) {
        if let Some(name) = pattern.name() {
            if !files.iter().any(|file| file == name) {
                let nearest = nearest(name, files.iter().map(String::as_str));
                return Err(Lack {
                    what: format!("no file `{}`", printable_name(name)),
                    hint: nearest.map(|name| format!("did you mean `{}`?", printable_name(name))),
                });
            }
            names.insert(name);
            continue;
        }
        // The same tensors again, in a format that is not read.
        let is_needed =
            |name: &&String| pattern.fits(name) && !(has_safetensors && is_pickle(name));
        names.extend(files.iter().filter(is_needed).map(String::as_str));
    }
    if names.is_empty() {
        let all: Vec<String> =
            patterns.iter().map(|pattern| format!("`{}`", printable_name(pattern))).collect();
        return Err(Lack { what: format!("no file that fits {}", all.join(", ")), hint: None });
    }
    let names = names.into_iter().map(str::to_owned).collect();
    Ok(Selection { names, sharded: false })
}

fn select_model(files: &[String]) -> Result<Selection, Lack> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let is_sharded = !has(MODEL) && has(INDEX);
    let weights: Vec<&String> = if has(MODEL) || is_sharded {
        files.iter().filter(|name| *name == MODEL).collect()
    } else {
        let at_root = |name: &&String| !name.contains('/') && has_extension(name, &["safetensors"]);
        files.iter().filter(at_root).collect()
    };
    if weights.is_empty() && !is_sharded {
        let other = files.iter().find(|name| is_pickle(name) || has_extension(name, &["gguf"]));
        let hint = other.map(|name| {
            let name = printable_name(name);
            let action = if is_pickle(&name) { "convert" } else { "name" };
            format!("it has `{name}`: {action} that file")
        });
        return Err(Lack { what: "no `.safetensors` file".to_owned(), hint });
    }
    let beside: Vec<Pattern> = BESIDE.iter().map(|text| Pattern::new(text)).collect();
    let is_needed = |name: &&String| {
        let is_index = name.ends_with(".index.json");
        !is_index && beside.iter().any(|pattern| pattern.fits(name))
    };
    let index = files.iter().filter(|name| is_sharded && *name == INDEX);
    let names: BTreeSet<&String> =
        weights.into_iter().chain(index).chain(files.iter().filter(is_needed)).collect();
    Ok(Selection { names: names.into_iter().cloned().collect(), sharded: is_sharded })
}

/// Returns the files that an index names, sorted. Each must be one of `files`.
pub(super) fn shards(index: &Path, files: &[String]) -> Result<Vec<String>, Error> {
    #[derive(serde::Deserialize)]
    struct Document {
        weight_map: std::collections::BTreeMap<String, String>,
    }

    let mut text = Vec::new();
    File::open(index)
        .and_then(|file| file.take(INDEX_BYTES + 1).read_to_end(&mut text))
        .map_err(Error::file("read", index))?;
    if text.len() as u64 > INDEX_BYTES {
        let reason = format!("has more bytes than the limit of {INDEX_BYTES}");
        return Err(Error::weights(index, reason));
    }
    let Document { weight_map } = serde_json::from_slice(&text)
        .map_err(|error| Error::weights(index, format!("cannot be read: {}", printable(error))))?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    if let Some(missing) = names.iter().find(|name| !files.contains(name)) {
        let missing = printable_name(missing);
        let reason = format!("names `{missing}`, which the repository does not have");
        return Err(Error::weights(index, reason));
    }
    Ok(names.into_iter().collect())
}

/// Returns whether a file's name from a server is a plain path below a folder, on any system.
pub(super) fn is_safe(name: &str) -> bool {
    let part = |part: &str| {
        let is_drive = part.as_bytes().get(1) == Some(&b':');
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && !is_drive
    };
    !name.chars().any(|char| char.is_control() || char == '\\') && name.split('/').all(part)
}

/// Returns whether a file is named like weights that only Python reads.
fn is_pickle(name: &str) -> bool {
    has_extension(name, &["bin", "pt", "pth", "ckpt", "pkl", "pickle", "h5", "msgpack"])
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default().to_string_lossy();
    extensions.iter().any(|wanted| extension.eq_ignore_ascii_case(wanted))
}
