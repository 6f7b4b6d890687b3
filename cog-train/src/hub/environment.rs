//! The variables of Python's `huggingface_hub`.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Hub;
use crate::error::Error;
use crate::input::Secret;

/// Returns a variable of the process.
type Get<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Returns the hub that the variables describe.
pub(super) fn hub(get: Get) -> Result<Hub, Error> {
    let home = match path(get, "HF_HOME")? {
        Some(home) => home,
        None => user_cache(get)?.join("huggingface"),
    };
    let cache = match path(get, "HF_HUB_CACHE")? {
        Some(cache) => Some(cache),
        None => path(get, "HUGGINGFACE_HUB_CACHE")?,
    };
    let mut hub = Hub::new(cache.unwrap_or_else(|| home.join("hub")));
    if let Some(endpoint) = text(get, "HF_ENDPOINT")? {
        hub = hub.endpoint(endpoint);
    }
    if let Some(token) = token(get, &home)? {
        hub = hub.token(token);
    }
    let offline = match text(get, "HF_HUB_OFFLINE")? {
        Some(offline) => Some(offline),
        None => text(get, "TRANSFORMERS_OFFLINE")?,
    };
    Ok(hub.offline(offline.is_some_and(|value| is_true(&value))))
}

fn token(get: Get, home: &Path) -> Result<Option<Secret>, Error> {
    if text(get, "HF_HUB_DISABLE_IMPLICIT_TOKEN")?.is_some_and(|value| is_true(&value)) {
        return Ok(None);
    }
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(token) = text(get, name)?.and_then(|text| clean(&text, name).transpose()) {
            return token.map(Some);
        }
    }
    let file = path(get, "HF_TOKEN_PATH")?.unwrap_or_else(|| home.join("token"));
    match fs::read_to_string(&file) {
        Ok(text) => clean(&text, &file.display().to_string()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::file("read", &file)(error)),
    }
}

/// Returns a token without the white space around it; `None` when nothing is left.
fn clean(text: &str, place: &str) -> Result<Option<Secret>, Error> {
    let token = text.replace(['\r', '\n'], "").trim().to_owned();
    if token.is_empty() {
        return Ok(None);
    }
    // A header cannot hold anything else.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Arguments {
            reason: format!("the token in `{place}` has a character that no token has"),
        });
    }
    Ok(Some(Secret::new(token)))
}

fn user_cache(get: Get) -> Result<PathBuf, Error> {
    if let Some(dir) = path(get, "XDG_CACHE_HOME")? {
        return Ok(dir);
    }
    let home = text(get, "HOME")?.ok_or_else(|| Error::Arguments {
        reason: "there is no folder to keep downloads in\nhint: set `HF_HOME` to a path".to_owned(),
    })?;
    Ok(PathBuf::from(home).join(".cache"))
}

/// Returns a variable's value; an empty one counts as unset.
fn text(get: Get, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    value
        .into_string()
        .map(Some)
        .map_err(|_| Error::Arguments { reason: format!("the value of `{name}` is not UTF-8") })
}

fn path(get: Get, name: &str) -> Result<Option<PathBuf>, Error> {
    let Some(value) = text(get, name)? else { return Ok(None) };
    Ok(Some(PathBuf::from(expand(get, &value)?)))
}

/// Expands `~`, `$NAME` and `${NAME}`, as Python does for these variables. An unknown name stays.
fn expand(get: Get, value: &str) -> Result<String, Error> {
    let mut rest = value;
    let mut expanded = String::new();
    if (rest == "~" || rest.starts_with("~/"))
        && let Some(home) = text(get, "HOME")?
    {
        expanded += home.trim_end_matches('/');
        rest = &rest[1..];
    }
    while let Some(start) = rest.find('$') {
        expanded += &rest[..start];
        let after = &rest[start + 1..];
        let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let bare = after.find(|char| !is_name(char)).unwrap_or(after.len());
        let braced = after.strip_prefix('{').and_then(|text| text.split_once('}'));
        let (name, end) = braced.map_or((&after[..bare], bare), |(name, _)| (name, name.len() + 2));
        match get(name).filter(|_| !name.is_empty()) {
            Some(_) => expanded += &text(get, name)?.unwrap_or_default(),
            None => expanded += &rest[start..=start + end],
        }
        rest = &after[end..];
    }
    Ok(expanded + rest)
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}
