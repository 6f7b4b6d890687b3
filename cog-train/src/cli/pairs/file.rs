//! `@FILE`: the file itself, or its text.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::flaw::Flaw;
use crate::error::plain_io;
use crate::read;

/// The most bytes of a file that is read as a value. Data belongs into a `Path` input, which is not read.
const LARGEST: u64 = 64 << 20;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The path of a file that is there.
pub(super) fn path(name: &str) -> Result<String, Flaw> {
    let path = expand(name, std::env::home_dir())?;
    let found = std::fs::metadata(&path).map_err(|error| unreadable(name, &plain_io(&error)))?;
    if found.is_dir() {
        return Err(Flaw::new(format!("`{name}` is a folder"))
            .hint("for the folder itself, leave out the `@`"));
    }
    let text = path
        .into_os_string()
        .into_string()
        .map_err(|_| unreadable(name, "the name is not UTF-8"))?;
    // A file with such a name is not an address.
    let address = ["http:", "https:", "data:"].iter().any(|scheme| text.starts_with(scheme));
    Ok(if address { format!("./{text}") } else { text })
}

/// Reads the text of a file.
pub(super) fn text(name: &str) -> Result<String, Flaw> {
    let path = expand(name, std::env::home_dir())?;
    let file = File::open(&path).map_err(|error| unreadable(name, &plain_io(&error)))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(Flaw::new(format!("`{name}` is a folder")));
    }
    text_of(&format!("`{name}`"), file)
}

/// Reads the text of an open file.
pub(super) fn text_of(name: &str, file: impl Read) -> Result<String, Flaw> {
    let bytes = read::bytes(file, LARGEST)
        .map_err(|error| Flaw::new(format!("cannot read {name}: {}", plain_io(&error))))?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Flaw::new(format!("{name} is not UTF-8 text: byte {at} does not belong to a character"))
    })?;
    // Editors on Windows write it; it is no part of the text.
    if text.starts_with(BYTE_ORDER_MARK) {
        text.remove(0);
    }
    Ok(text)
}

/// Replaces a leading `~` by the home folder: a shell does not expand it after `@`.
fn expand(name: &str, home: Option<PathBuf>) -> Result<PathBuf, Flaw> {
    if name.is_empty() {
        return Err(Flaw::new("`@` names no file").hint("write `@FILE`; `@@` is a literal `@`"));
    }
    let below = if name == "~" { Some("") } else { name.strip_prefix("~/") };
    match (below, home) {
        (None, _) => Ok(Path::new(name).to_owned()),
        (Some(rest), Some(home)) if !home.as_os_str().is_empty() => Ok(home.join(rest)),
        (Some(_), _) => Err(unreadable(name, "there is no home folder")),
    }
}

fn unreadable(name: &str, reason: &str) -> Flaw {
    let flaw = Flaw::new(format!("cannot read `{name}`: {reason}"));
    if name.contains("://") { flaw.hint("an address is written without the `@`") } else { flaw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder() {
        let at = |name: &str| expand(name, Some("/home/a".into())).map_err(|flaw| flaw.message);
        assert_eq!(at("~/x/y").unwrap(), Path::new("/home/a/x/y"));
        assert_eq!(at("~").unwrap(), Path::new("/home/a/"));
        assert_eq!(at("~b/x").unwrap(), Path::new("~b/x"));
        assert_eq!(at("a/~/x").unwrap(), Path::new("a/~/x"));
        assert_eq!(at("").unwrap_err(), "`@` names no file");
        assert_eq!(
            expand("~/x", None).err().unwrap().message,
            "cannot read `~/x`: there is no home folder"
        );
    }
}
