//! Files outside an output folder that this program wrote, by the records of runs.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use super::answer::succeeded;
use super::special::is_special;
use crate::read;
use crate::run::folder::RunRecord;

/// Whether a run in the folder `runs` recorded `path` as its output, or the value that the file holds.
pub(super) fn is_recorded(path: &Path, runs: &Path) -> bool {
    let (Ok(path), Ok(entries)) = (path.canonicalize(), fs::read_dir(runs)) else { return false };
    entries.flatten().any(|entry| {
        RunRecord::read(&entry.path()).is_ok_and(|record| {
            let output = record.get("output");
            let metrics = record.get("metrics").as_object().cloned().unwrap_or_default();
            names(output, &path)
                || holds(&path, &content_of(output))
                || holds(&path, &content_of(&succeeded(output, &metrics)))
        })
    })
}

/// Whether an output as JSON holds a path that is `path`.
fn names(output: &Value, path: &Path) -> bool {
    match output {
        Value::String(text) => fs::canonicalize(text).is_ok_and(|output| output == path),
        Value::Array(items) => items.iter().any(|item| names(item, path)),
        _ => false,
    }
}

fn holds(path: &Path, content: &[u8]) -> bool {
    if is_special(path) {
        return false;
    }
    let file = File::open(path);
    file.and_then(|file| read::bytes(file, content.len() as u64)).is_ok_and(|it| it == content)
}

/// Returns the content of the file of an output without files.
pub(super) fn content_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Object(_) | Value::Array(_) => format!("{value:#}\n").into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Whether two files have the same content.
pub(super) fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    if fs::metadata(one)?.len() != fs::metadata(other)?.len() {
        return Ok(false);
    }
    let bytes =
        |path| Ok::<_, io::Error>(BufReader::with_capacity(1 << 16, File::open(path)?).bytes());
    for (one, other) in bytes(one)?.zip(bytes(other)?) {
        if one? != other? {
            return Ok(false);
        }
    }
    Ok(true)
}
