//! The JSON and text files of a Hugging Face folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;

/// Reads a text file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Reads a JSON object; an empty one when there is no file.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let Some(text) = read(path)? else { return Ok(Map::new()) };
    serde_json::from_str(&text)
        .map_err(|error| Error::tokenizer(path, format!("not a JSON object: {error}")))
}

/// Reads the number of tokens that the model of a folder has an embedding for, if there is a model.
pub(super) fn embedding_rows(folder: &Path) -> Result<Option<usize>, Error> {
    let config = read_object(&folder.join("config.json"))?;
    // A model of texts and images has a configuration of its own for texts.
    let of_text = config.get("text_config").and_then(|text| text.get("vocab_size"));
    let rows = config.get("vocab_size").or(of_text).and_then(Value::as_u64);
    Ok(rows.and_then(|rows| usize::try_from(rows).ok()))
}
