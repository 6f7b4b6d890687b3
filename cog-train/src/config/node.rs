//! YAML values with their locations, and mistakes at a location.

use std::rc::Rc;

use super::note::Location;

/// A mistake at a location, before the file's name is attached.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: Location,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Mistake {
    pub(super) fn new(at: Location, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A value and its location. A clone shares the content.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Location,
    pub(super) content: Rc<Content>,
    /// The number of values when all aliases are expanded, long texts weighted by their length.
    pub(super) size: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A scalar as it was written; `plain` when neither quotes nor a tag make it a string.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// A value whose mistake was already reported; readers skip it.
    Broken,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: Location,
}

impl Node {
    pub(super) fn new(at: Location, content: Content, size: usize) -> Self {
        Self { at, content: Rc::new(content), size }
    }

    /// Whether this is no value: empty, `~` or `null`. A broken value counts as absent, too.
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
