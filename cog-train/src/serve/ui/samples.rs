//! The texts and images that a run has logged.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::log::piece;
use super::query::Query;
use super::tail::Tail;

const FILE: &str = "samples.jsonl";
const IMAGES: &str = "samples";

/// Reads the last samples of a run, those behind the cursor `after`, or those before the byte `until`.
pub(super) fn read(dir: &Path, query: &Query) -> io::Result<Value> {
    let Some(mut tail) = Tail::open(&dir.join(FILE), query.after.as_deref())? else {
        let restarted = query.after.is_some();
        return Ok(json!({"cursor": null, "restarted": restarted, "start": 0, "samples": []}));
    };
    let piece = piece(&mut tail, query.until)?;
    let restarted = tail.restarted;
    let cursor = tail.cursor(piece.end)?;
    let lines = piece.text.lines();
    let samples: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(json!({"cursor": cursor, "restarted": restarted, "start": piece.start, "samples": samples}))
}

/// Reads an image; `None` when there is none of this name.
pub(super) fn picture(dir: &Path, file: &str) -> io::Result<Option<Vec<u8>>> {
    let is_digest =
        |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !file.strip_suffix(".png").is_some_and(is_digest) {
        return Ok(None);
    }
    match std::fs::read(dir.join(IMAGES).join(file)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
