//! The two input types that Rust lacks: a local file, and a text that is never shown.

use std::fmt;
use std::path::PathBuf;

/// A local file or folder: an input that was fetched before `train` was called, or an output that `train` has written.
///
/// It is `std::path::Path` under `Deref`, so that every function on paths takes it.
///
/// ```
/// use cog_train::Path;
///
/// let path = Path::from("data/train.jsonl");
/// assert_eq!(path.extension().unwrap(), "jsonl");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(PathBuf);

impl std::ops::Deref for Path {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl AsRef<std::path::Path> for Path {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl From<PathBuf> for Path {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl From<&str> for Path {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl From<String> for Path {
    fn from(path: String) -> Self {
        Self(path.into())
    }
}

impl From<&std::path::Path> for Path {
    fn from(path: &std::path::Path) -> Self {
        Self(path.into())
    }
}

impl From<Path> for PathBuf {
    fn from(path: Path) -> Self {
        path.0
    }
}

/// A text that must not be shown: a token, a password.
///
/// It has no `Display`, its `Debug` is always the same ten asterisks, and it is kept out of logs, records, run files,
/// checkpoints and errors. Only [`Secret::expose`] returns the text.
///
/// ```
/// use cog_train::Secret;
///
/// let token = Secret::new("hf_1234");
/// assert_eq!(format!("{token:?}"), "Secret(**********)");
/// assert_eq!(token.expose(), "hf_1234");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The text that replaces a secret.
pub(crate) const MASK: &str = "**********";

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({MASK})")
    }
}
