//! The names of members: which are plain, and that each is there once.

use std::collections::HashMap;
use std::io;

use super::stream::refuse;
use super::{Kind, Limits};
use crate::error::printable_name;

/// The longest part of a name in bytes, as file systems have it.
const PART_BYTES: usize = 255;

/// The names seen so far, as a tree: a folder is kept once, however many members are in it.
pub(super) struct Names<'a> {
    limits: &'a Limits,
    /// The bytes of the archive.
    size: u64,
    /// Members that stand for the archive's root.
    roots: u64,
    name_bytes: u64,
    /// By the folder's number and the last part in lower case: names that differ only in case clash.
    seen: HashMap<(u64, String), Seen>,
}

struct Seen {
    number: u64,
    /// The last part of the name as it was first spelled.
    part: String,
    kind: Kind,
    /// A member of its own, not only the folder of another.
    own: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(limits: &'a Limits, size: u64) -> Self {
        Self { limits, size, roots: 0, name_bytes: 0, seen: HashMap::new() }
    }

    /// Takes a member's name as it is stored and returns it as it is handed out; `None` is the archive's root.
    pub(super) fn add(&mut self, stored: &[u8], kind: Kind) -> io::Result<Option<String>> {
        let Some(name) = plain(stored, kind, self.limits)? else {
            self.roots += 1;
            return self.check_entries().map(|()| None);
        };
        self.name_bytes += name.len() as u64;
        self.limits.check_names(self.name_bytes).map_err(refuse)?;
        let mut folder = 0;
        for (end, _) in name.match_indices('/') {
            folder = self.enter(folder, &name[..end], Kind::Folder, false)?;
        }
        self.enter(folder, &name, kind, true)?;
        Ok(Some(name))
    }

    /// Enters the last part of `name` in its folder, and returns the number of the entry.
    fn enter(&mut self, folder: u64, name: &str, kind: Kind, own: bool) -> io::Result<u64> {
        let (above, part) = name.rsplit_once('/').unwrap_or(("", name));
        let key = (folder, part.to_lowercase());
        let Some(seen) = self.seen.get_mut(&key) else {
            let number = self.seen.len() as u64 + 1;
            self.seen.insert(key, Seen { number, part: part.to_owned(), kind, own });
            return self.check_entries().map(|()| number);
        };
        if seen.part != part {
            let first = [above, &seen.part].join(if above.is_empty() { "" } else { "/" });
            let (first, name) = (printable_name(&first), printable_name(name));
            return Err(refuse(format!("members `{first}` and `{name}` differ only in case")));
        }
        if seen.kind != kind {
            return Err(refuse(format!("`{}` is a file and a folder", printable_name(name))));
        }
        if own && seen.own {
            return Err(refuse(format!("member `{}` is there twice", printable_name(name))));
        }
        seen.own |= own;
        Ok(seen.number)
    }

    fn check_entries(&self) -> io::Result<()> {
        let count = self.seen.len() as u64 + self.roots;
        self.limits.check_entries(count, self.size).map_err(refuse)
    }
}

/// A stored name for a message.
pub(super) fn shown(stored: &[u8]) -> String {
    const MAX_BYTES: usize = 200;
    match std::str::from_utf8(stored) {
        Ok(name) => printable_name(name),
        Err(_) => stored[..stored.len().min(MAX_BYTES)].escape_ascii().to_string(),
    }
}

/// Returns the name that is stored, without a leading `./`; `None` is the root, and what is not plain is refused.
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
