//! Copies of a tokenizer's files, beside those of a model that was trained with it.

use std::fs;
use std::path::Path;

use super::templates::ADDITIONAL;
use crate::error::Error;

/// The files that `transformers` opens a tokenizer from.
const FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
];

/// Copies the files of a tokenizer and its chat templates from one folder to another.
///
/// # Errors
///
/// [`Error::File`].
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::file("create", to))?;
    for name in FILES {
        copy_file(&from.join(name), &to.join(name))?;
    }
    let (from, to) = (from.join(ADDITIONAL), to.join(ADDITIONAL));
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to).map_err(Error::file("create", &to))?;
    for entry in fs::read_dir(&from).map_err(Error::file("read", &from))? {
        let path = entry.map_err(Error::file("read", &from))?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            copy_file(&path, &to.join(name))?;
        }
    }
    Ok(())
}

/// Copies a file, if there is one.
fn copy_file(from: &Path, to: &Path) -> Result<(), Error> {
    let same = || from.canonicalize().ok().is_some_and(|from| to.canonicalize().ok() == Some(from));
    if from.is_file() && !same() {
        fs::copy(from, to).map_err(Error::file("write", to))?;
    }
    Ok(())
}
