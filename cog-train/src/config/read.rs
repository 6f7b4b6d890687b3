//! From nodes to values: the reader collects every mistake and goes on with what is good.

use std::sync::Arc;

use super::keys::{Role, Table};
use super::node::{Content, Key, Mistake, Node};
use super::note::{Note, NoteKind, Place, Position, quoted};

/// Reads values out of nodes and notes what is wrong with them.
pub(super) struct Reader {
    file: Arc<str>,
    pub(super) notes: Vec<Note>,
}

/// A mapping whose unknown keys were reported.
pub(super) struct Fields<'n> {
    entries: &'n [(Key, Node)],
    /// Where the mapping is, for what it lacks.
    pub(super) at: Place,
}

/// A text and its place.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) at: Place,
}

impl Fields<'_> {
    /// The value of a key, unless it is null.
    pub(super) fn get(&self, name: &str) -> Option<(&Key, &Node)> {
        let (key, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!node.is_null()).then_some((key, node))
    }

    /// The key, if it has a value that says something: neither null nor empty.
    pub(super) fn given(&self, name: &str) -> Option<&Key> {
        let (key, node) = self.get(name)?;
        let empty = match &*node.content {
            Content::Scalar { text, .. } => text.is_empty(),
            Content::List(items) => items.is_empty(),
            Content::Map(_) | Content::Broken => false,
        };
        (!empty).then_some(key)
    }

    /// Whether the key is there at all, with whatever value.
    fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.text == name)
    }
}

impl Reader {
    pub(super) fn new(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), notes: Vec::new() }
    }

    pub(super) fn position(&self, at: Place) -> Position {
        Position::new(&self.file, at)
    }

    pub(super) fn note(&mut self, kind: NoteKind, said: Mistake) {
        let position = self.position(said.at);
        self.notes.push(Note { position, kind, message: said.message, hint: said.hint });
    }

    pub(super) fn wrong(&mut self, mistake: Mistake) {
        self.note(NoteKind::Mistake, mistake);
    }

    /// The mapping's fields, its keys held against the table.
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

    /// The text of a key as it was written, `3.10` for `3.10`. `None`: not given, empty, or wrong.
    pub(super) fn text(&mut self, fields: &Fields<'_>, name: &str) -> Option<Text> {
        let (_, node) = fields.get(name)?;
        self.text_of(&format!("`{name}`"), node).filter(|text| !text.text.is_empty())
    }

    /// The text of a key that must be there and not be empty.
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

    /// Says that a key is needed.
    pub(super) fn missing(&mut self, of: &str, fields: &Fields<'_>, name: &str) {
        let without = if fields.has(name) { "a value for " } else { "" };
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

    /// The items of a list; none when it is not given or wrong.
    pub(super) fn items<'n>(&mut self, fields: &'n Fields<'_>, name: &str) -> &'n [Node] {
        let Some((_, node)) = fields.get(name) else { return &[] };
        if let Content::List(items) = &*node.content {
            return items;
        }
        self.wrong_type(&format!("`{name}`"), "a list", node);
        &[]
    }

    /// The items of a list of texts.
    pub(super) fn texts(&mut self, fields: &Fields<'_>, name: &str) -> Vec<Text> {
        let what = format!("an item of `{name}`");
        let items = self.items(fields, name);
        items.iter().filter_map(|item| self.text_of(&what, item)).collect()
    }

    /// `true` or `false`, and nothing that only reads so.
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
        let meant = match text.to_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => format!("write `{name}: true`"),
            "false" | "no" | "n" | "off" | "0" => format!("write `{name}: false`"),
            _ => format!("write `{name}: true` or `{name}: false`"),
        };
        let message = format!("`{name}` must be true or false, found {}", describe(node));
        self.wrong(Mistake::new(node.at, message).hint(meant));
        None
    }

    /// A whole number of at least 1.
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

    /// Says what a value should have been.
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

    /// Says that two keys are given of which only one may be; it is said at the later one.
    pub(super) fn exclusive(&mut self, fields: &Fields<'_>, pair: [&str; 2], hint: &str) {
        let [Some(a), Some(b)] = pair.map(|name| fields.given(name)) else { return };
        let (first, second) = if a.at < b.at { (a, b) } else { (b, a) };
        let message = format!("`{}` and `{}` exclude each other", second.text, first.text);
        self.wrong(Mistake::new(second.at, message).hint(hint));
    }
}

/// What a value is, for a message.
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

/// An integer of YAML's core schema: decimal with a sign, `0x` or `0o` without.
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
