//! The names of members: what is a plain name, and that each is there once.

use std::collections::HashMap;
use std::io;

use super::stream::refuse;
use super::{Kind, Limits};

/// The longest part of a name in bytes, as file systems have it.
const PART_BYTES: usize = 255;

/// The names seen so far.
pub(super) struct Names<'a> {
    limits: &'a Limits,
    members: u64,
    /// By the name in lower case: names that differ only in case clash.
    seen: HashMap<String, Seen>,
}

struct Seen {
    name: String,
    kind: Kind,
    /// A member of its own, not only the folder of another.
    own: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { limits, members: 0, seen: HashMap::new() }
    }

    /// Takes a member's name as it is stored and gives it as it is handed out; `None` is the archive's root.
    pub(super) fn add(&mut self, stored: &[u8], kind: Kind) -> io::Result<Option<String>> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(refuse(format!(
                "holds more than the limit of {} members",
                self.limits.members
            )));
        }
        let Some(name) = plain(stored, kind, self.limits)? else { return Ok(None) };
        for (at, _) in name.match_indices('/') {
            self.enter(&name[..at], Kind::Folder, false)?;
        }
        self.enter(&name, kind, true)?;
        Ok(Some(name))
    }

    fn enter(&mut self, name: &str, kind: Kind, own: bool) -> io::Result<()> {
        let Some(seen) = self.seen.get_mut(&name.to_lowercase()) else {
            self.seen.insert(name.to_lowercase(), Seen { name: name.to_owned(), kind, own });
            return Ok(());
        };
        if seen.name != name {
            return Err(refuse(format!(
                "members `{}` and `{name}` differ only in case",
                seen.name
            )));
        }
        if seen.kind != kind {
            return Err(refuse(format!("`{name}` is a file and a folder")));
        }
        if own && seen.own {
            return Err(refuse(format!("member `{name}` is there twice")));
        }
        seen.own |= own;
        Ok(())
    }
}

/// A stored name for a message.
pub(super) fn shown(stored: &[u8]) -> String {
    const MOST: usize = 100;
    match std::str::from_utf8(stored) {
        Ok(name) if name.chars().count() > MOST => {
            format!("{}...", name.chars().take(MOST).collect::<String>().escape_debug())
        }
        Ok(name) => name.escape_debug().to_string(),
        Err(_) => stored[..stored.len().min(MOST)].escape_ascii().to_string(),
    }
}

fn plain(stored: &[u8], kind: Kind, limits: &Limits) -> io::Result<Option<String>> {
    let bad = |what: &str| Err(refuse(format!("member `{}` {what}", shown(stored))));
    if stored.is_empty() {
        return Err(refuse("a member has no name"));
    }
    let Ok(name) = std::str::from_utf8(stored) else { return bad("has a name that is not UTF-8") };
    if name.len() > limits.name_bytes {
        return bad(&format!(
            "has a name of {} bytes, more than the limit of {}",
            name.len(),
            limits.name_bytes
        ));
    }
    if name.chars().any(char::is_control) {
        return bad("has a control character in its name");
    }
    if name.contains('\\') {
        return bad("has a backslash in its name");
    }
    if name.starts_with('/') {
        return bad("has an absolute name");
    }
    if matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return bad("has a drive letter in its name");
    }
    if name.split('/').any(|part| part == "..") {
        return bad("has `..` in its name");
    }
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = match kind {
        Kind::Folder => name.strip_suffix('/').unwrap_or(name),
        Kind::File => name,
    };
    if kind == Kind::Folder && (name.is_empty() || name == ".") {
        return Ok(None);
    }
    if name.split('/').any(|part| part.is_empty() || part == ".") {
        return bad("has an empty part in its name");
    }
    if name.split('/').any(|part| part.len() > PART_BYTES) {
        return bad(&format!("has a part of more than {PART_BYTES} bytes in its name"));
    }
    if name.split('/').count() > limits.depth {
        return bad(&format!("is deeper than the limit of {} folders", limits.depth));
    }
    Ok(Some(name.to_owned()))
}
