//! Extraction of values from nodes. The reader collects every mistake and continues with what is valid.

use std::sync::Arc;

use super::keys::{Role, Table};
use super::node::{Content, Key, Mistake, Node};
use super::note::{Location, Note, NoteKind, Position, quoted};

/// Reads values out of nodes and collects notes.
pub(super) struct Reader {
    file: Arc<str>,
    pub(super) notes: Vec<Note>,
}

/// The fields of a mapping whose unknown keys were reported.
pub(super) struct Fields<'n> {
    entries: &'n [(Key, Node)],
    /// The location of the mapping, for missing keys.
    pub(super) at: Location,
}

/// A text and its location.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) at: Location,
}

impl Fields<'_> {
    /// Returns the value of a key, unless it is null.
    pub(super) fn get(&self, name: &str) -> Option<(&Key, &Node)> {
        let (key, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!node.is_null()).then_some((key, node))
    }

    /// Returns the key if its value is neither null nor empty.
    pub(super) fn given(&self, name: &str) -> Option<&Key> {
        let (key, node) = self.get(name)?;
        let empty = match &*node.content {
            Content::Scalar { text, .. } => text.is_empty(),
            Content::List(items) => items.is_empty(),
            Content::Map(_) | Content::Broken => false,
        };
        (!empty).then_some(key)
    }

    /// Whether the key has a value whose mistake was already reported, and which is therefore not missing.
    pub(super) fn is_broken(&self, name: &str) -> bool {
        self.written(name).is_some_and(|node| matches!(*node.content, Content::Broken))
    }

    /// Returns the value of a key, even null or broken.
    fn written(&self, name: &str) -> Option<&Node> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }
}

impl Reader {
    pub(super) fn new(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), notes: Vec::new() }
    }

    pub(super) fn position(&self, at: Location) -> Position {
        Position::new(&self.file, at)
    }

    pub(super) fn note(&mut self, kind: NoteKind, mistake: Mistake) {
        let position = self.position(mistake.at);
        self.notes.push(Note { position, kind, message: mistake.message, hint: mistake.hint });
    }

    pub(super) fn wrong(&mut self, mistake: Mistake) {
        self.note(NoteKind::Mistake, mistake);
    }

    /// Returns the mapping's fields and reports keys that are not in the table.
    pub(super) fn fields<'n>(&mut self, table: &Table, node: &'n Node) -> Option<Fields<'n>> {
        let Content::Map(entries) = &*node.content else {
            let what = table.of;
            self.wrong_type(what, "a mapping of keys to values", node);
            return None;
        };
        for (key, _) in entries {
            self.key(table, key);
        }
        Some(Fields { entries, at: node.at })
    }

    fn key(&mut self, table: &Table, key: &Key) {
        let name = quoted(&key.text);
        let (kind, message, hint) = match table.role(&key.text) {
            Some(Role::Read) => return,
            Some(Role::Python) => {
                let message = format!("{name} has no effect here: the program is not in Python");
                (NoteKind::NoEffect, message, None)
            }
            Some(Role::Cog) => {
                let message = format!("{name} has no effect here: only Cog itself reads it");
                (NoteKind::NoEffect, message, None)
            }
            Some(Role::Deprecated(hint)) => {
                (NoteKind::Deprecated, format!("{name} is deprecated"), Some(hint.to_owned()))
            }
            None => (NoteKind::UnknownKey, format!("unknown key {name}"), table.hint(&key.text)),
        };
        self.note(kind, Mistake { at: key.at, message, hint });
    }

    /// Returns the text of a key as it was written, `3.10` for `3.10`; `None` when it is absent, empty or invalid.
    pub(super) fn text(&mut self, fields: &Fields<'_>, name: &str) -> Option<Text> {
        let (_, node) = fields.get(name)?;
        self.text_of(&format!("`{name}`"), node).filter(|text| !text.text.is_empty())
    }

    /// Returns the text of a required key, and reports an absent or empty one.
    pub(super) fn required(&mut self, of: &str, fields: &Fields<'_>, name: &str) -> Option<Text> {
        let Some((_, node)) = fields.get(name) else {
            self.missing(of, fields, name);
            return None;
        };
        let text = self.text_of(&format!("`{name}`"), node)?;
        if text.text.is_empty() {
            self.wrong(Mistake::new(text.at, format!("`{name}` is empty")));
            return None;
        }
        Some(text)
    }

    /// Reports a required key that is absent or null. A broken value was reported already.
    pub(super) fn missing(&mut self, of: &str, fields: &Fields<'_>, name: &str) {
        if fields.is_broken(name) {
            return;
        }
        let without = if fields.written(name).is_some() { "a value for " } else { "" };
        self.wrong(Mistake::new(fields.at, format!("{of} needs {without}`{name}`")));
    }

    fn text_of(&mut self, what: &str, node: &Node) -> Option<Text> {
        match &*node.content {
            Content::Scalar { text, .. } if !node.is_null() => {
                Some(Text { text: text.clone(), at: node.at })
            }
            _ => {
                self.wrong_type(what, "text", node);
                None
            }
        }
    }

    /// Returns the items of a list; none when it is absent or invalid.
    pub(super) fn items<'n>(&mut self, fields: &'n Fields<'_>, name: &str) -> &'n [Node] {
        let Some((_, node)) = fields.get(name) else { return &[] };
        if let Content::List(items) = &*node.content {
            return items;
        }
        self.wrong_type(&format!("`{name}`"), "a list", node);
        &[]
    }

    /// Returns the items of a list of texts.
    pub(super) fn texts(&mut self, fields: &Fields<'_>, name: &str) -> Vec<Text> {
        let what = format!("an item of `{name}`");
        let items = self.items(fields, name);
        items.iter().filter_map(|item| self.text_of(&what, item)).collect()
    }

    /// Reads `true` or `false`, and nothing that merely means it.
    pub(super) fn boolean(&mut self, fields: &Fields<'_>, name: &str) -> Option<bool> {
        let (_, node) = fields.get(name)?;
        let Content::Scalar { text, plain } = &*node.content else {
            self.wrong_type(&format!("`{name}`"), "true or false", node);
            return None;
        };
        match (text.as_str(), plain) {
            ("true" | "True" | "TRUE", true) => return Some(true),
            ("false" | "False" | "FALSE", true) => return Some(false),
            _ => {}
        }
        let hint = match text.to_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => format!("write `{name}: true`"),
            "false" | "no" | "n" | "off" | "0" => format!("write `{name}: false`"),
            _ => format!("write `{name}: true` or `{name}: false`"),
        };
        let message = format!("`{name}` must be true or false, found {}", describe(node));
        self.wrong(Mistake::new(node.at, message).hint(hint));
        None
    }

    /// Reads an integer of at least 1.
    pub(super) fn count(&mut self, fields: &Fields<'_>, name: &str) -> Option<u32> {
        let (_, node) = fields.get(name)?;
        let number = match &*node.content {
            Content::Scalar { text, plain: true } => integer(text),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_type(&format!("`{name}`"), "a whole number", node);
            return None;
        };
        let mistake = if number < 1 {
            format!("`{name}` is {number}, and must be at least 1")
        } else {
            match u32::try_from(number) {
                Ok(number) => return Some(number),
                Err(_) => format!("`{name}` is {number}, and must be at most {}", u32::MAX),
            }
        };
        self.wrong(Mistake::new(node.at, mistake));
        None
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, what: &str, wanted: &str, node: &Node) {
        let found = match &*node.content {
            Content::Broken => return,
            _ => describe(node),
        };
        let mut mistake = Mistake::new(node.at, format!("{what} must be {wanted}, found {found}"));
        mistake.hint = match (wanted, &*node.content) {
            ("a list", Content::Scalar { .. }) => {
                Some("write each item on a line of its own, after `- `".to_owned())
            }
            ("a list", Content::Map(_)) if what == "`environment`" => {
                Some("write each variable as an item: `- NAME=value`".to_owned())
            }
            ("text", Content::Map(_)) if what.starts_with("an item") => {
                Some("quote a text that holds `: `".to_owned())
            }
            (_, Content::Scalar { .. }) if what == "the file" => {
                Some("write `key: value`".to_owned())
            }
            ("a whole number", Content::Scalar { text, plain: false })
                if integer(text).is_some() =>
            {
                Some("write it without quotes".to_owned())
            }
            _ => None,
        };
        self.wrong(mistake);
    }

    /// Reports two keys that exclude each other, at the later one.
    pub(super) fn exclusive(&mut self, fields: &Fields<'_>, pair: [&str; 2], hint: &str) {
        let [Some(a), Some(b)] = pair.map(|name| fields.given(name)) else { return };
        let (first, second) = if a.at < b.at { (a, b) } else { (b, a) };
        let message = format!("`{}` and `{}` exclude each other", second.text, first.text);
        self.wrong(Mistake::new(second.at, message).hint(hint));
    }
}

/// Describes a value for a message.
fn describe(node: &Node) -> String {
    match &*node.content {
        Content::Scalar { .. } if node.is_null() => "nothing".to_owned(),
        Content::Scalar { text, plain: true } => quoted(text),
        Content::Scalar { text, plain: false } => format!("the text {}", quoted(text)),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a mapping".to_owned(),
        Content::Broken => String::new(),
    }
}

/// Parses an integer of YAML's core schema: decimal with a sign, `0x` or `0o` without.
fn integer(text: &str) -> Option<i64> {
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        _ => return text.parse().ok(),
    };
    // `from_str_radix` alone would take `0x-1`.
    let signed = digits.starts_with(['+', '-']);
    if signed { None } else { i64::from_str_radix(digits, radix).ok() }
}
