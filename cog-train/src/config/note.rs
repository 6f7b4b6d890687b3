//! What is said about a `cog.yaml`: [`Note`]s with exact positions, and [`ConfigError`], all mistakes in one report.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// A place in a `cog.yaml`. Its `Display` is `FILE:LINE:COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    file: Arc<str>,
    place: Place,
}

impl Position {
    pub(super) fn new(file: &Arc<str>, place: Place) -> Self {
        Self { file: Arc::clone(file), place }
    }

    /// The file's name, as it was given to the parser.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line
    }

    /// The column in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.place.column
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.place.line, self.place.column)
    }
}

/// A line and a column, both from 1, of the one file that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// How much a [`Note`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind {
    /// The file is not valid.
    Mistake,
    /// A key that is not in Cog's schema: a warning at run time, a mistake under `check`.
    UnknownKey,
    /// A key that Cog wants to be rid of: a warning.
    Deprecated,
    /// A key that is right for Cog and does nothing here: said by `check` only.
    NoEffect,
}

/// One thing to say about a `cog.yaml`.
///
/// Its `Display` is `FILE:LINE:COLUMN: message`, and the hint, if there is one, on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The offending key or value.
    pub position: Position,
    /// Mistake or warning.
    pub kind: NoteKind,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
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
    /// `Ok` when there is nothing wrong.
    pub(super) fn unless_empty(file: &Arc<str>, mistakes: Vec<Note>) -> Result<(), Self> {
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(Self { file: Arc::clone(file), mistakes: in_order(mistakes) })
    }

    /// The mistakes, in the order of the file.
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
        match self.mistakes.len() {
            1 => write!(f, "1 mistake in `{}`", self.file)?,
            n => write!(f, "{n} mistakes in `{}`", self.file)?,
        }
        for note in &self.mistakes {
            write!(f, "\n  {}: {}", note.position, note.message)?;
            if let Some(hint) = &note.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// The notes in the order of the file, each once: what an alias repeats is met more than once.
pub(super) fn in_order(mut notes: Vec<Note>) -> Vec<Note> {
    notes.sort_by_key(|note| note.position.place);
    let mut seen = HashSet::new();
    notes.retain(|note| seen.insert((note.position.place, note.message.clone())));
    notes
}

/// A text of the file as a message shows it: in backticks, on one line, not too long, and nothing that a terminal obeys.
pub(super) fn quoted(text: &str) -> String {
    shown(text, 60)
}

/// A line to write instead, shown alike, with room for a long path.
pub(super) fn example(text: &str) -> String {
    format!("write {}", shown(text, 200))
}

fn shown(text: &str, most: usize) -> String {
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            // Escapes line ends, control characters and what cannot be seen, such as marks of the writing direction.
            _ => out.extend(c.escape_debug()),
        }
    }
    out.push('`');
    out
}
