//! A YAML value that knows its place, and what is said of one.

use std::rc::Rc;

use super::note::Place;

/// Something wrong at a place, before it is known in which file.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: Place,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Mistake {
    pub(super) fn new(at: Place, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A value and its place. Cloning one shares what is in it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) content: Rc<Content>,
    /// How many nodes this one is when its aliases are unfolded.
    pub(super) size: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A text as it was written; `plain` when neither quotes nor a tag make it a string.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Something that was already reported; whoever reads it says nothing.
    Broken,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: Place,
}

impl Node {
    pub(super) fn new(at: Place, content: Content, size: usize) -> Self {
        Self { at, content: Rc::new(content), size }
    }

    /// Whether this says "no value": nothing at all, `~` or `null`. What is broken counts as not given, too.
    pub(super) fn is_null(&self) -> bool {
        match &*self.content {
            Content::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Content::Broken => true,
            Content::List(_) | Content::Map(_) => false,
        }
    }
}
