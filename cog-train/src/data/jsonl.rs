//! Rows from a JSONL file: one JSON value a line.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::dataset::Dataset;
use super::lines::{LINE, Lines};
use crate::error::Error;
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

/// Any JSON value in which no object has a key twice.
struct UniqueKeys;

impl<'de> serde::Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Self;

    fn expecting(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        form.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, Self)) = object.next_entry::<String, Self>()? {
            keys.push(key);
        }
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(A::Error::custom(format!("the key `{}` is there twice", pair[0]))),
            None => Ok(self),
        }
    }
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
        let line = |row| rows.location(row).rsplit_once('/').unwrap().1.to_owned();
        (0..rows.len()).map(|row| (rows.item(row).unwrap().text, line(row))).collect()
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
    fn every_bad_row_is_reported_with_its_line() {
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
    fn every_line_break_ends_a_row() {
        let rows = texts(
            b"{\"text\": \"a\"}\r{\"text\": \"b\"}\r\n\r{\"text\": \"c\"}\n{\"text\": \"d\"}\r",
        );
        let expected = [("a", 1), ("b", 2), ("c", 4), ("d", 5)];
        let expected =
            expected.map(|(text, line)| (text.to_owned(), format!("train.jsonl line {line}")));
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_in_rows_of_any_type() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let lines = [
            r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}"#,
            r#"{"a": 1, "b": 2, "a": 3}"#,
            r#"[{"b": {"x": NaN}}]"#,
            r#"[{"b": {"\u0061": 1, "a": 1}}]"#,
            r#"{"a": 1e999}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let error = Jsonl::<serde_json::Value>::open(&path).err().unwrap().to_string();
        assert!(
            error.ends_with(
                "a.jsonl`: 4 rows cannot be used\n  \
                 line 2: the key `a` is there twice at column 24\n  \
                 line 3: not JSON: expected value at column 14\n  \
                 line 4: the key `a` is there twice at column 28\n  \
                 line 5: not JSON: number out of range at column 11"
            ),
            "{error}"
        );
    }

    #[test]
    fn nul_bytes_and_marks_within_a_file_are_refused_by_line() {
        let bytes = b"{\"text\": \"a\"}\n{\"text\": \"\0\"}\n\xef\xbb\xbf{\"text\": \"b\"}\n\0\0\0";
        assert_eq!(
            open(bytes).err().unwrap(),
            "data `train.jsonl`: 3 rows cannot be used\n  \
             line 2: not JSON: control character (\\u0000-\\u001F) found while parsing a string at column 11\n  \
             line 3: not JSON: expected value at column 1\n  \
             line 4: not JSON: expected value at column 1"
        );
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
    fn a_long_line_is_refused() {
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
            rows.item(2).unwrap_err().to_string().ends_with("row 3 is out of range: there are 2")
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
    fn cancellation_stops_opening() {
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
        assert_eq!(seen, 1, "no row is read after the cancellation");
    }
}
