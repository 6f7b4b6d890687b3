//! Diagnostics of a `cog.yaml`: [`Note`]s with exact positions, and [`ConfigError`], all mistakes in one report.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::message::{counted, printable_start};

/// A position in a `cog.yaml`. Its `Display` is `FILE:LINE:COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    file: Arc<str>,
    location: Location,
}

impl Position {
    pub(super) fn new(file: &Arc<str>, location: Location) -> Self {
        Self { file: Arc::clone(file), location }
    }

    /// Returns the file's name, as it was passed to the parser.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.location.line
    }

    /// Returns the column in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.location.column
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.location.line, self.location.column)
    }
}

/// A line and a column, both from 1, in the file that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Location {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Location {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// The severity of a [`Note`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind {
    /// The file is not valid.
    Mistake,
    /// A key that is not in Cog's schema: a warning at run time, a mistake under `check`.
    UnknownKey,
    /// A key that Cog has deprecated: a warning.
    Deprecated,
    /// A key that is valid for Cog and has no effect here: reported by `check` only.
    NoEffect,
}

/// A diagnostic of a `cog.yaml`.
///
/// Its `Display` is `FILE:LINE:COLUMN: message`, and the hint, if there is one, on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The offending key or value.
    pub position: Position,
    /// The severity.
    pub kind: NoteKind,
    /// The message, without position and hint.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of a `cog.yaml`, in the order of the file.
///
/// ```
/// use cog_train::Config;
///
/// let text = "build:\n  gpu: \"yes\"\nimage: a\nmodel: b/c\n";
/// let error = Config::parse(text, "cog.yaml").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "2 mistakes in `cog.yaml`
///   cog.yaml:2:8: `gpu` must be true or false, found the text `yes`
///   hint: write `gpu: true`
///   cog.yaml:4:1: `model` and `image` exclude each other
///   hint: keep `model` for a model with weights, else `image`"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: Arc<str>,
    mistakes: Vec<Note>,
}

impl ConfigError {
    /// Fails with the mistakes if there are any.
    pub(super) fn unless_empty(file: &Arc<str>, mistakes: Vec<Note>) -> Result<(), Self> {
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(Self { file: Arc::clone(file), mistakes: in_order(mistakes) })
    }

    /// Returns the mistakes, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Note> {
        self.mistakes.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigError {
    type Item = &'a Note;
    type IntoIter = std::slice::Iter<'a, Note>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in `{}`", counted(self.mistakes.len(), "mistake"), self.file)?;
        for note in &self.mistakes {
            write!(f, "\n  {}: {}", note.position, note.message)?;
            if let Some(hint) = &note.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// Sorts the notes by position and removes duplicates, which aliases cause.
pub(super) fn in_order(mut notes: Vec<Note>) -> Vec<Note> {
    notes.sort_by_key(|note| note.position.location);
    let mut seen = HashSet::new();
    notes.retain(|note| seen.insert((note.position.location, note.message.clone())));
    notes
}

/// Formats a text of the file for a message: in backticks, on one line, shortened, with control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable_start(text, 60))
}

/// Formats a line to write instead, with room for a long path.
pub(super) fn example(text: &str) -> String {
    format!("write `{}`", printable_start(text, 200))
}
