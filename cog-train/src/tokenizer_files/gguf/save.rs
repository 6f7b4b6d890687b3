//! The tokenizer of a GGUF file as the files of a folder.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{TEMPLATE, TOKENS, stored, templates};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::tokenizer_files::templates::{ADDITIONAL, DEFAULT};

/// Writes `tokenizer.json`, `tokenizer_config.json`, the chat templates, and `generation_config.json` where more than one token
/// ends a text. A file without a tokenizer has none of them.
///
/// # Errors
///
/// [`Error::Tokenizer`] when the tokenizer is of another kind; [`Error::File`].
pub(crate) fn save(file: &Gguf, folder: &Path) -> Result<(), Error> {
    if file.metadata().get(TOKENS).is_none() {
        return Ok(());
    }
    let tokenizer = stored(file)?;
    let mut config = Map::new();
    for (name, token) in &tokenizer.named {
        config.insert(name.clone(), json!(token));
    }
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    // Its rules are those of `tokenizer.json`, whatever the family of the model.
    config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    write(&folder.join("tokenizer.json"), &tokenizer.json.to_string())?;
    write(&folder.join("tokenizer_config.json"), &format!("{:#}\n", Value::Object(config)))?;
    if !tokenizer.stop.is_empty() {
        let end =
            file.metadata().get("tokenizer.ggml.eos_token_id").and_then(crate::gguf::Value::as_u64);
        let mut ids: Vec<u64> = end.into_iter().collect();
        ids.extend(tokenizer.stop.iter().map(|id| u64::from(*id)).filter(|id| Some(*id) != end));
        let config = json!({"eos_token_id": ids});
        write(&folder.join("generation_config.json"), &format!("{config:#}\n"))?;
    }
    for (name, template) in templates(file) {
        let path = if name == DEFAULT {
            folder.join("chat_template.jinja")
        } else {
            if name.contains(['/', '\\']) || name.starts_with('.') {
                let name = crate::error::printable_name(&name);
                let reason = format!("`{TEMPLATE}.{name}` is not the name of a file");
                return Err(Error::tokenizer(file.path(), reason));
            }
            let folder = folder.join(ADDITIONAL);
            fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
            folder.join(format!("{name}.jinja"))
        };
        write(&path, &template)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}
