//! The destination that `-o` names: a file, a folder, or standard output.

use std::path::PathBuf;

use super::layout::{OUTPUT_JSON, extension};
use crate::run::role::Kind;
use crate::run::staging::parent_of;

/// The destination that `-o` names.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    kind: Kind,
    pub(super) target: Target,
    /// Whether foreign files in an output folder are replaced.
    pub(super) force: bool,
    /// Whether a file of a value holds the whole answer.
    pub(super) answer: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    /// No `-o`.
    Default,
    /// `-o -` and `-o ''`, as written.
    Stdout(&'static str),
    Path(PathBuf),
}

/// The destinations of an output with files and of its answer.
pub(super) struct Split {
    pub(super) files: Destination,
    pub(super) answer: Destination,
}

impl Destination {
    /// Reads the argument of `-o`: a leading `@` is dropped, and `-` and an empty text are standard output.
    pub(crate) fn new(kind: Kind, given: Option<&str>, force: bool) -> Self {
        let target = match given.map(|text| text.strip_prefix('@').unwrap_or(text)) {
            None => Target::Default,
            Some("") => Target::Stdout("''"),
            Some("-") => Target::Stdout("-"),
            Some(path) => Target::Path(path.into()),
        };
        Self { kind, target, force, answer: false }
    }

    /// Writes the whole answer into the file of a value, and into `NAME.json` beside files.
    pub(crate) fn with_answer(self) -> Self {
        Self { answer: true, ..self }
    }

    /// Returns the folder that is written into.
    pub(crate) fn parent(&self) -> PathBuf {
        let path = self.path();
        if self.holds_results() { path } else { parent_of(&path).to_owned() }
    }

    /// Whether a value goes to standard output.
    pub(super) fn is_stdout(&self) -> bool {
        match self.target {
            Target::Default => self.kind == Kind::Predict,
            Target::Stdout(_) => true,
            Target::Path(_) => false,
        }
    }

    pub(super) fn is_default(&self) -> bool {
        matches!(self.target, Target::Default)
    }

    /// Returns the destinations of the files and of the answer: `-o NAME.json` writes the answer into that file and the
    /// files beside it.
    pub(super) fn split(&self) -> Option<Split> {
        let path = self.path();
        let is_json = self.answer && !self.is_default() && extension(&path) == ".json";
        if !is_json || self.holds_results() {
            return None;
        }
        let to = |path| Self { target: Target::Path(path), answer: false, ..self.clone() };
        Some(Split { files: to(path.with_extension("")), answer: to(path) })
    }

    /// `-o DIR/`, and what can be nothing but a folder: `.`, `..`, `/`.
    pub(super) fn is_folder(&self) -> bool {
        let Target::Path(path) = &self.target else { return false };
        let text = path.as_os_str().as_encoded_bytes();
        text.ends_with(b"/") || text.ends_with(b"/.") || path.file_name().is_none()
    }

    /// Whether files and values go into the path under their own names: it is written as a folder, or is one.
    pub(super) fn holds_results(&self) -> bool {
        let is_named = matches!(self.target, Target::Path(_));
        self.is_folder() || (is_named && self.path().is_dir())
    }

    /// Returns the path without slashes and dots that have no meaning.
    pub(super) fn path(&self) -> PathBuf {
        match (&self.target, self.kind) {
            (Target::Path(path), _) => path.components().collect(),
            (_, Kind::Train) => "weights".into(),
            (_, Kind::Predict) => "output".into(),
        }
    }

    /// Returns the name of a value's file in a folder.
    pub(super) fn value_name(&self) -> &'static str {
        if self.answer { OUTPUT_JSON } else { "output" }
    }
}
