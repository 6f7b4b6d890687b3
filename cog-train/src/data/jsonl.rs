//! Rows from a JSONL file: one JSON value a line.

use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::dataset::Dataset;
use super::lines::{LINE, Lines};
use crate::error::Error;
use crate::progress::CancelToken;

/// A JSONL file. Opening it reads it once and parses every line; after that, rows are read where they stand, and the
/// memory that it takes is 8 bytes a row. Blank lines are no rows.
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

    /// [`Jsonl::open`], which can be cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Jsonl::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        Self::open_checked(path, cancel, |_| Ok(()))
    }

    /// [`Jsonl::open_with`] and a check of each row's value: what is wrong with it is told with the others.
    ///
    /// # Errors
    ///
    /// Those of [`Jsonl::open_with`].
    pub fn open_checked(
        path: impl AsRef<Path>,
        cancel: &CancelToken,
        mut check: impl FnMut(&T) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let lines = Lines::open(path.as_ref(), LINE, cancel, |line| check(&parse(line)?))?;
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
        parse(&line).map_err(|reason| Error::Data { place: self.place(index), reason })
    }

    fn place(&self, index: usize) -> String {
        self.lines.0.place(index)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.lines.0.held.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Text {
        text: String,
    }

    fn open(bytes: &[u8]) -> Result<Jsonl<Text>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.jsonl");
        std::fs::write(&path, bytes).unwrap();
        let folder = format!("{}/", dir.path().display());
        let check = |row: &Text| {
            if row.text.is_empty() { Err("`text` is empty".to_owned()) } else { Ok(()) }
        };
        Jsonl::open_checked(&path, &CancelToken::new(), check)
            .map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn texts(bytes: &[u8]) -> Vec<(String, String)> {
        let rows = open(bytes).unwrap();
        let place = |row| rows.place(row).rsplit_once('/').unwrap().1.to_owned();
        (0..rows.len()).map(|row| (rows.item(row).unwrap().text, place(row))).collect()
    }

    #[test]
    fn marks_blanks_and_line_ends_are_no_content() {
        let bytes =
            "\u{feff}{\"text\": \"a\"}\r\n\r\n \n{\"text\": \"\u{e4}\"}\n\n{\"text\": \"c\"}";
        let rows = texts(bytes.as_bytes());
        let expected = [("a", 1), ("\u{e4}", 4), ("c", 6)];
        let expected =
            expected.map(|(text, line)| (text.to_owned(), format!("train.jsonl line {line}")));
        assert_eq!(rows, expected);
        assert_eq!(texts(b"\n\n{\"text\": \"a\"}\n")[0].1, "train.jsonl line 3");
    }

    #[test]
    fn every_bad_row_is_told_with_its_line() {
        let bytes = b"{\"text\": \"good\"}\n\n{\"text\": }\n{\"text\": 3}\n{\"txt\": \"a\"}\n{\"text\": \"\xe9\"}\n{\"text\": \"\"}\n{\"text";
        assert_eq!(
            open(bytes).err().unwrap(),
            "data `train.jsonl`: 6 rows cannot be used\n  \
             line 3: not JSON: expected value at column 10\n  \
             line 4: invalid type: integer `3`, expected a string at column 10\n  \
             line 5: missing field `text` at column 12\n  \
             line 6: it is not UTF-8\n  \
             line 7: `text` is empty\n  \
             line 8: not JSON: EOF while parsing a string at column 6"
        );
        let error = open(&b"x\n".repeat(25)).err().unwrap();
        assert!(error.contains("25 rows cannot") && error.ends_with("and 5 more"), "{error}");
    }

    #[test]
    fn files_without_rows_or_in_another_form_are_refused() {
        let refused = |bytes: &[u8]| open(bytes).err().unwrap();
        assert_eq!(refused(b""), "data `train.jsonl`: it is empty");
        assert_eq!(refused(b"\n \n"), "data `train.jsonl`: it has no rows");
        assert!(refused(b"\xff\xfe{\0").contains("it is UTF-16\nhint: "));
        assert!(refused(b"\x1f\x8b\x08").contains("it is packed"));
    }

    #[test]
    fn a_long_line_is_told_and_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long.txt");
        std::fs::write(&path, format!("short\n{}\nshort\n1234567890\n", "x".repeat(200_000)))
            .unwrap();
        let error =
            Lines::open(&path, 10, &CancelToken::new(), |_| Ok(())).unwrap_err().to_string();
        assert!(
            error.ends_with("1 row cannot be used\n  line 2: it is longer than 10 bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_file_cut_while_it_is_open_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n").unwrap();
        let rows = Jsonl::<Text>::open(&path).unwrap();
        let digest = rows.digest().unwrap();
        assert_eq!(digest.len(), 64);
        assert!(
            rows.item(2).unwrap_err().to_string().ends_with("row 3 was asked for, and there are 2")
        );
        std::fs::File::options().write(true).open(&path).unwrap().set_len(20).unwrap();
        assert!(
            rows.item(1)
                .unwrap_err()
                .to_string()
                .ends_with("it has 20 bytes, and had 28 when it was opened")
        );
    }

    #[test]
    fn opening_can_be_cancelled_half_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"a\"}\n".repeat(50_000)).unwrap();
        let cancel = CancelToken::new();
        let (mut seen, token) = (0, cancel.clone());
        let opened = Jsonl::<Text>::open_checked(&path, &cancel, |_| {
            seen += 1;
            token.cancel();
            Ok(())
        });
        assert!(matches!(opened, Err(Error::Cancelled)));
        assert_eq!(seen, 1, "no row is looked at after the wish to stop");
    }
}
