//! A YAML document as a tree of nodes with locations.
//!
//! It is built from the parser's events and not through serde, because the rules of `cog.yaml` need what serde drops:
//! whether `yes` was quoted, the digits of `3.10`, the location of a key, and every duplicate instead of the first.
//! Aliases share the node that they name, so they cost nothing here; their expansion is counted and bounded.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span, StructureStyle, Tag};

use super::node::{Content, Key, Mistake, Node};
use super::note::{Location, quoted};
use super::syntax;

/// Values that aliases may add. A `cog.yaml` has some fifty values in all.
const MAX_ALIASED: usize = 10_000;

/// Bytes of text that count as one value: an alias to a long text copies it.
const BYTES_PER_VALUE: usize = 64;

/// Lists and mappings within each other; the schema needs seven.
const MAX_DEPTH: usize = 32;

/// Parses a document into its root, `None` when it is empty or a syntax error ended it, and the mistakes.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Mistake>) {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents == 2 {
                    let message = "a second document starts here, and only one may be in the file";
                    builder.mistakes.push(Mistake::new(start_of(&span), message));
                    break;
                }
            }
            Ok((event, span)) => {
                if builder.take(event, &span).is_err() {
                    return (None, builder.mistakes);
                }
            }
            Err(error) => {
                builder.mistakes.push(syntax::mistake(&error, text, builder.bracket()));
                return (None, builder.mistakes);
            }
        }
    }
    (builder.root, builder.mistakes)
}

/// Returns the location of a span's start.
fn start_of(span: &Span) -> Location {
    Location { line: span.start.line(), column: span.start.col() + 1 }
}

/// The mistake of a scalar with U+0000 in it, which YAML lets an escape produce. Every text of a `cog.yaml` becomes a
/// variable, a path, a name or a command line, and the system ends each of these at its first NUL.
fn holds_nul(text: &str, at: Location) -> Mistake {
    let message = format!("{} holds a NUL character", quoted(text));
    Mistake::new(at, message).hint("remove the escape `\\0`")
}

/// The aliases expand to too much, so that building stops.
struct TooLarge;

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    mistakes: Vec<Mistake>,
}

/// A list or mapping that is still open.
struct Open {
    at: Location,
    style: StructureStyle,
    anchor: usize,
    size: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map(Entries),
}

#[derive(Default)]
struct Entries {
    /// The line of each key's first occurrence.
    seen: HashMap<String, usize>,
    own: Vec<(Key, Node)>,
    /// The mappings under `<<`; the mapping's own keys override theirs in any order.
    merged: Vec<Node>,
    pending: Option<Pending>,
}

/// A key whose value comes next.
enum Pending {
    Key(Key),
    Merge,
    /// An invalid key, already reported; its value is dropped.
    Invalid,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), TooLarge> {
        let at = start_of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(style, tag.as_deref(), span);
                let size = 1 + text.len() / BYTES_PER_VALUE;
                let content = if text.contains('\0') {
                    self.mistakes.push(holds_nul(&text, at));
                    Content::Broken
                } else {
                    Content::Scalar { text: text.into_owned(), plain }
                };
                self.close(Node::new(at, content, size), anchor);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.is_plain(ScalarStyle::Plain, tag.as_deref(), span);
                let items = Items::List(Vec::new());
                self.open.push(Open { at, style, anchor, size: 1, items });
            }
            Event::MappingStart(style, anchor, tag) => {
                self.is_plain(ScalarStyle::Plain, tag.as_deref(), span);
                let items = Items::Map(Entries::default());
                self.open.push(Open { at, style, anchor, size: 1, items });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { at, anchor, size, items, .. }) = self.open.pop() {
                    let content = match items {
                        Items::List(items) => Content::List(items),
                        Items::Map(entries) => Content::Map(entries.finish()),
                    };
                    self.close(Node::new(at, content, size), anchor);
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = Node { at, ..node.clone() };
                    self.aliased += node.size;
                    if self.aliased > MAX_ALIASED {
                        let message = format!(
                            "aliases expand to more than {MAX_ALIASED} values of \
                             {BYTES_PER_VALUE} bytes"
                        );
                        self.mistakes.push(Mistake::new(at, message));
                        return Err(TooLarge);
                    }
                    self.close(node, 0);
                }
                None => self.broken(at, "an alias stands inside the value that it names"),
            },
            Event::UnresolvedAlias(name) => {
                let anchor = quoted(&format!("&{name}"));
                let message = format!("{} names no anchor", quoted(&format!("*{name}")));
                self.mistakes.push(Mistake::new(at, message).hint(format!(
                    "put {anchor} before the value it stands for, or quote a text that starts with `*`"
                )));
                self.close(Node::new(at, Content::Broken, 1), 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a scalar is plain. YAML's own tags override the style; other tags are mistakes.
    fn is_plain(&mut self, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else { return style == ScalarStyle::Plain };
        match tag.core_suffix() {
            Some("str") => return false,
            Some(_) => return true,
            None if tag.original() == "!" => return false,
            None => {}
        }
        let at = span.tag_start.map_or_else(
            || start_of(span),
            |tag| Location { line: tag.line(), column: tag.col() + 1 },
        );
        let message = format!("the tag {} has no meaning here", quoted(&tag.original()));
        self.mistakes.push(Mistake::new(at, message).hint("remove it"));
        style == ScalarStyle::Plain
    }

    /// Returns the innermost open bracket.
    fn bracket(&self) -> Option<(char, Location)> {
        let open = self.open.last().filter(|open| open.style == StructureStyle::Flow)?;
        let bracket = if matches!(open.items, Items::List(_)) { '[' } else { '{' };
        Some((bracket, open.at))
    }

    fn broken(&mut self, at: Location, message: &str) {
        self.mistakes.push(Mistake::new(at, message));
        self.close(Node::new(at, Content::Broken, 1), 0);
    }

    /// Adds a complete node to the anchors and to the innermost open list or mapping.
    fn close(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        parent.size += node.size;
        match &mut parent.items {
            Items::List(items) => items.push(node),
            Items::Map(entries) => entries.take(node, &mut self.mistakes),
        }
    }
}

impl Entries {
    /// Takes a key, or the value of the pending key.
    fn take(&mut self, node: Node, mistakes: &mut Vec<Mistake>) {
        match self.pending.take() {
            None => self.pending = Some(self.key(&node, mistakes)),
            Some(Pending::Key(key)) => self.own.push((key, node)),
            Some(Pending::Invalid) => {}
            Some(Pending::Merge) => match &*node.content {
                Content::Map(_) => self.merged.push(node),
                Content::List(items)
                    if items.iter().all(|item| matches!(*item.content, Content::Map(_))) =>
                {
                    self.merged.extend(items.iter().cloned());
                }
                Content::Broken => {}
                _ => mistakes
                    .push(Mistake::new(node.at, "`<<` takes a mapping or a list of mappings")),
            },
        }
    }

    fn key(&mut self, node: &Node, mistakes: &mut Vec<Mistake>) -> Pending {
        let at = node.at;
        let (text, plain) = match &*node.content {
            Content::Scalar { text, plain } if !node.is_null() => (text, *plain),
            Content::Broken => return Pending::Invalid,
            _ => {
                mistakes.push(Mistake::new(at, "a key must be text"));
                return Pending::Invalid;
            }
        };
        if let Some(first) = self.seen.get(text) {
            let message = format!("{} is given twice, first on line {first}", quoted(text));
            mistakes.push(Mistake::new(at, message));
            return Pending::Invalid;
        }
        self.seen.insert(text.clone(), at.line);
        if plain && text == "<<" {
            return Pending::Merge;
        }
        Pending::Key(Key { text: text.clone(), at })
    }

    /// Returns the mapping's own entries and then those of the merged mappings that it lacks; the first mapping wins.
    fn finish(mut self) -> Vec<(Key, Node)> {
        for node in &self.merged {
            if let Content::Map(entries) = &*node.content {
                for (key, value) in entries {
                    if !self.seen.contains_key(&key.text) {
                        self.seen.insert(key.text.clone(), key.at.line);
                        self.own.push((key.clone(), value.clone()));
                    }
                }
            }
        }
        self.own
    }
}
