//! A YAML document as a tree in which every node knows its place.
//!
//! It is built from the parser's events and not through serde, because the rules of `cog.yaml` ask what serde forgets:
//! whether `yes` was quoted, that `3.10` was written so, where a key stands, and every duplicate instead of the first.
//! Aliases share the node that they name, so they cost nothing here; what they would unfold to is counted and bounded.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span, StructureStyle, Tag};

use super::node::{Content, Key, Mistake, Node};
use super::note::{Place, quoted};
use super::syntax;

/// Nodes that aliases may add. A `cog.yaml` has some fifty nodes in all.
const MAX_ALIASED: usize = 10_000;

/// Lists and mappings within each other; the schema needs seven.
const MAX_DEPTH: usize = 32;

/// The document's root, `None` when there is none, and what is wrong with it as YAML.
///
/// After an error of syntax there is no root: what was read before it may mean something else.
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
                    let message = "a second document starts here, and a `cog.yaml` is one document";
                    builder.mistakes.push(Mistake::new(place(&span), message));
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

/// What stands at the start of a span, in characters from 1.
fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

/// The aliases unfold to too much; building stops.
struct TooMuch;

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    mistakes: Vec<Mistake>,
}

/// A list or mapping whose end has not been seen.
struct Open {
    at: Place,
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
    /// The line of each key's first entry.
    seen: HashMap<String, usize>,
    own: Vec<(Key, Node)>,
    /// What `<<` names; the mapping's own keys come first, wherever they stand.
    merged: Vec<Node>,
    waiting: Option<Waiting>,
}

/// A key whose value has not been seen.
enum Waiting {
    Key(Key),
    Merge,
    /// Already reported; the value goes with it.
    Nothing,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), TooMuch> {
        let at = place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(style, tag.as_deref(), span);
                let node = Node::new(at, Content::Scalar { text: text.into_owned(), plain }, 1);
                self.close(node, anchor);
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
                        let message = format!("aliases unfold to more than {MAX_ALIASED} values");
                        self.mistakes.push(Mistake::new(at, message));
                        return Err(TooMuch);
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

    /// Whether a scalar means what it looks like. YAML's own tags decide, others have no meaning here.
    fn is_plain(&mut self, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else { return style == ScalarStyle::Plain };
        match tag.core_suffix() {
            Some("str") => return false,
            Some(_) => return true,
            None if tag.original() == "!" => return false,
            None => {}
        }
        let at = span
            .tag_start
            .map_or_else(|| place(span), |tag| Place { line: tag.line(), column: tag.col() + 1 });
        let message = format!("the tag {} has no meaning in a `cog.yaml`", quoted(&tag.original()));
        self.mistakes.push(Mistake::new(at, message).hint("remove it"));
        style == ScalarStyle::Plain
    }

    /// The innermost bracket that is open.
    fn bracket(&self) -> Option<(char, Place)> {
        let open = self.open.last().filter(|open| open.style == StructureStyle::Flow)?;
        let bracket = if matches!(open.items, Items::List(_)) { '[' } else { '{' };
        Some((bracket, open.at))
    }

    fn broken(&mut self, at: Place, message: &str) {
        self.mistakes.push(Mistake::new(at, message));
        self.close(Node::new(at, Content::Broken, 1), 0);
    }

    /// Puts a whole node where it belongs: the anchors, and the innermost open list or mapping.
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
    /// A key, or the value of the key before it.
    fn take(&mut self, node: Node, mistakes: &mut Vec<Mistake>) {
        match self.waiting.take() {
            None => self.waiting = Some(self.key(&node, mistakes)),
            Some(Waiting::Key(key)) => self.own.push((key, node)),
            Some(Waiting::Nothing) => {}
            Some(Waiting::Merge) => match &*node.content {
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

    fn key(&mut self, node: &Node, mistakes: &mut Vec<Mistake>) -> Waiting {
        let at = node.at;
        let (text, plain) = match &*node.content {
            Content::Scalar { text, plain } if !node.is_null() => (text, *plain),
            Content::Broken => return Waiting::Nothing,
            _ => {
                mistakes.push(Mistake::new(at, "a key must be text"));
                return Waiting::Nothing;
            }
        };
        if let Some(first) = self.seen.get(text) {
            let message = format!("{} is given twice, first on line {first}", quoted(text));
            mistakes.push(Mistake::new(at, message));
            return Waiting::Nothing;
        }
        self.seen.insert(text.clone(), at.line);
        if plain && text == "<<" {
            return Waiting::Merge;
        }
        Waiting::Key(Key { text: text.clone(), at })
    }

    /// The mapping's own entries, and those of the merged mappings that it does not have, the first one first.
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
