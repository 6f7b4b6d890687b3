//! The `config.json` beside a tokenizer.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::tokenizer_files::read_object;

/// Reads the number of tokens that the model of a folder has an embedding for, if there is a model.
pub(super) fn embedding_rows(folder: &Path) -> Result<Option<usize>, Error> {
    let config = read_object(&folder.join("config.json"))?;
    // A model of texts and images has a configuration of its own for texts.
    let of_text = config.get("text_config").and_then(|text| text.get("vocab_size"));
    let rows = config.get("vocab_size").or(of_text).and_then(Value::as_u64);
    Ok(rows.and_then(|rows| usize::try_from(rows).ok()))
}
