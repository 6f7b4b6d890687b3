//! The names of files in an output folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::answer::is_answer;
use super::manifest::MANIFEST;
use crate::read;
use crate::run::staging::names_in;

/// The file in an output folder that holds its values and the relative paths of its files.
pub(crate) const OUTPUT_JSON: &str = "output.json";

/// Returns the file's name of a field, without its extension. A map's names are the author's data: only letters, digits,
/// `-`, `_` and `.` make a file's name.
pub(crate) fn file_name_of(field: &str) -> String {
    let safe = field.replace(|c: char| !c.is_alphanumeric() && !"-_.".contains(c), "_");
    let safe = safe.trim_start_matches('.');
    if safe.is_empty() { "file".to_owned() } else { safe.to_owned() }
}

/// Returns the extension with its dot, `.tar.gz` and its like whole; empty when there is none or it is a number (`m.1`).
pub(crate) fn extension(path: &Path) -> String {
    let part = |path: &Path| path.extension().map(|part| part.to_string_lossy().into_owned());
    let Some(last) = part(path).filter(|last| last.parse::<u64>().is_err()) else {
        return String::new();
    };
    let stem = path.file_stem().map(PathBuf::from).unwrap_or_default();
    match part(&stem) {
        Some(tar) if tar == "tar" => format!(".tar.{last}"),
        _ => format!(".{last}"),
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Returns the names that this program wrote into a folder, by its `output.json`; none without one.
pub(crate) fn own_names(dir: &Path) -> BTreeSet<String> {
    let parsed = read::file(&dir.join(OUTPUT_JSON), read::JSON_BYTES).ok();
    let parsed = parsed.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    // An answer has the same name and lists no files.
    let Some(value) = parsed.filter(|value| !is_answer(value)) else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    collect_files("", &value, &mut names);
    // An `output.json` that names nothing which is there is somebody else's, unless it is alone.
    names.retain(|name| dir.join(name).exists());
    if !names.is_empty() || names_in(dir).is_ok_and(|names| names == [OUTPUT_JSON]) {
        names.insert(OUTPUT_JSON.to_owned());
        names.insert(MANIFEST.to_owned());
    }
    names
}

/// Returns the names in a folder that this program did not write.
pub(crate) fn foreign_names(dir: &Path) -> std::io::Result<Vec<String>> {
    let own = own_names(dir);
    let mut names = names_in(dir)?;
    names.retain(|name| !own.contains(name));
    names.sort();
    Ok(names)
}

/// Whether a name is that of a model's weights, which `COG_WEIGHTS` may choose from a folder.
pub(crate) fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
}

/// Collects the files that an `output.json` names. A file has the name of its field; any other text is a value.
fn collect_files(field: &str, value: &Value, files: &mut BTreeSet<String>) {
    let inner =
        |part: &str| if field.is_empty() { part.to_owned() } else { format!("{field}.{part}") };
    match value {
        Value::String(text) => {
            let rest = text.strip_prefix(&file_name_of(field));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                files.insert(text.clone());
            }
        }
        Value::Array(items) => {
            (0..).zip(items).for_each(|(index, item): (u64, _)| {
                collect_files(&inner(&index.to_string()), item, files);
            });
        }
        Value::Object(map) => {
            map.iter().for_each(|(name, item)| collect_files(&inner(name), item, files));
        }
        _ => {}
    }
}
