//! Rows from a JSONL file: one JSON value a line.

use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::dataset::Dataset;
use super::lines::{LINE, Lines};
use crate::error::Error;
use crate::json::UniqueKeys;
use crate::progress::CancelToken;

/// A JSONL file. `\n`, `\r\n` and a lone `\r` each end a line, and blank lines are no rows. An object that has a key twice is
/// refused: one of the two values would be lost. JSON has no NaN and no infinity; Python writes them, and they are refused
/// as well.
///
/// Opening it reads it once and parses every line; after that, rows are read from the file by their position. It takes 8
/// bytes of memory per row.
///
/// ```
/// use cog_train::data::{Dataset, Jsonl};
///
/// #[derive(serde::Deserialize)]
/// struct Pair {
///     prompt: String,
///     completion: String,
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("train.jsonl");
/// # std::fs::write(&path, "{\"prompt\": \"1 + 1\", \"completion\": \"2\"}\n")?;
/// let pairs = Jsonl::<Pair>::open(&path)?;
/// assert_eq!(pairs.len(), 1);
/// assert_eq!(pairs.item(0)?.completion, "2");
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Jsonl<T> {
    lines: Lines,
    row: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + 'static> Jsonl<T> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with every line that is not UTF-8, not JSON, not a `T` or longer than 64 MiB, and for a file
    /// without rows; [`Error::File`] when it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &CancelToken::new())
    }

    /// Does the same as [`Jsonl::open`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Jsonl::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        Self::open_checked(path, cancel, |_| Ok(()))
    }

    /// Does the same as [`Jsonl::open_with`] and validates each row by `check`, whose errors are reported with the others.
    ///
    /// # Errors
    ///
    /// Those of [`Jsonl::open_with`].
    pub fn open_checked(
        path: impl AsRef<Path>,
        cancel: &CancelToken,
        mut check: impl FnMut(&T) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let lines = Lines::open(path.as_ref(), LINE, cancel, |line| {
            let row = parse(line)?;
            parse::<UniqueKeys>(line)?;
            check(&row)
        })?;
        Ok(Self { lines, row: PhantomData })
    }
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| {
        let text = error.to_string().replace(" at line 1 column", " at column");
        if error.is_data() { text } else { format!("not JSON: {text}") }
    })
}

impl<T: DeserializeOwned + Send + 'static> Dataset for Jsonl<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.lines.0.len()
    }

    fn item(&self, index: usize) -> Result<T, Error> {
        let line = self.lines.line(index)?;
        parse(&line).map_err(|reason| Error::Data { location: self.location(index), reason })
    }

    fn location(&self, index: usize) -> String {
        self.lines.0.location(index)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.lines.0.file.digest())
    }
}

#[cfg(test)]
mod tests;
