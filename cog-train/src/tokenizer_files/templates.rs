//! The files and keys of a folder that have chat templates.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::read::{read, read_object};
use crate::error::Error;

/// The name of the template for conversations without tools, and for all where there is only one.
pub(crate) const DEFAULT: &str = "default";

/// The folder of further chat templates.
pub(super) const ADDITIONAL: &str = "additional_chat_templates";

/// Returns the templates of a folder by name: those of files hide those of the configuration.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<(String, String)>, Error> {
    let mut sources = configured(folder)?;
    for (name, path) in template_files(folder)? {
        if let Some(text) = read(&path)? {
            sources.retain(|(other, _)| *other != name);
            sources.push((name, text));
        }
    }
    Ok(sources)
}

/// Returns the templates of `tokenizer_config.json`.
fn configured(folder: &Path) -> Result<Vec<(String, String)>, Error> {
    let path = folder.join("tokenizer_config.json");
    let bad = || {
        let reason = "`chat_template` is neither a template nor a list of objects with `name` and `template`";
        Error::tokenizer(&path, reason)
    };
    match read_object(&path)?.get("chat_template") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(template)) => Ok(vec![(DEFAULT.to_owned(), template.clone())]),
        Some(Value::Array(named)) => named
            .iter()
            .map(|entry| {
                let text = |key| entry.get(key)?.as_str().map(str::to_owned);
                text("name").zip(text("template")).ok_or_else(bad)
            })
            .collect(),
        Some(Value::Object(named)) => named
            .iter()
            .map(|(name, template)| {
                Ok((name.clone(), template.as_str().ok_or_else(bad)?.to_owned()))
            })
            .collect(),
        Some(_) => Err(bad()),
    }
}

/// Returns the files with templates, with the names of these.
fn template_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = vec![(DEFAULT.to_owned(), folder.join("chat_template.jinja"))];
    let additional = folder.join(ADDITIONAL);
    let entries = match std::fs::read_dir(&additional) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(Error::file("read", &additional)(error)),
    };
    for entry in entries {
        let path = entry.map_err(Error::file("read", &additional))?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|it| it == "jinja")) {
            found.push((name, path));
        }
    }
    found[1..].sort();
    Ok(found)
}
