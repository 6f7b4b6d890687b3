//! Reading the JSON and text files of a Hugging Face folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;

/// Reads a text file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Reads a JSON object; an empty one when there is no file.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let Some(text) = read(path)? else { return Ok(Map::new()) };
    serde_json::from_str(&text)
        .map_err(|error| Error::tokenizer(path, format!("not a JSON object: {error}")))
}

/// Reads the tokens that end a text from `generation_config.json`: `eos_token_id`, one id or several.
pub(crate) fn stop_ids(folder: &Path) -> Result<Vec<u32>, Error> {
    let path = folder.join("generation_config.json");
    let config = read_object(&path)?;
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match config.get("eos_token_id") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(one) => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| {
        Error::tokenizer(&path, "`eos_token_id` is neither a token id nor a list of token ids")
    })
}
