//! Training rows from a file: JSONL with texts or pairs, or a plain text. The readers
//! are the engine's: one error names all bad lines before the first step, and reading stops when the run is cancelled.

use std::io::Read;
use std::path::Path;

use cog_train::data::{Jsonl, TextWindows};
use cog_train::prelude::*;
use cog_train::serde_json::{self, Value};
use cog_train::{CancelToken, Error};

/// The bytes of a plain text that are read at a time.
const PIECE: usize = 1 << 20;

/// A row to learn from.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// `{"text": "..."}`.
    Text(String),
    /// `{"prompt": "...", "completion": "..."}`: only the completion is learned.
    Pair { prompt: String, completion: String },
}

/// A file that has been looked through.
pub enum File {
    /// A row in each line: [`row`] reads it.
    Rows(Jsonl<Value>),
    /// One text, piece by piece.
    Text(TextWindows),
}

impl File {
    /// Opens a file: `.txt` and `.md` as one text, `.json`, `.jsonl` and `.ndjson` as rows, others by their first
    /// character.
    pub fn open(path: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        let rows = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json" | "jsonl" | "ndjson") => true,
            Some("txt" | "md") => false,
            _ => begins_as_rows(path),
        };
        Ok(if rows {
            Self::Rows(Jsonl::open_checked(path, cancel, |line| row(line).map(drop))?)
        } else {
            Self::Text(TextWindows::open_with(path, PIECE, PIECE, cancel)?)
        })
    }
}

/// A file that cannot be read is refused by whoever opens it.
fn begins_as_rows(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    read.is_ok() && text.trim_ascii_start().starts_with(b"{")
}

/// The rows of a text that is a part of the program.
pub fn parse(text: &str) -> Result<Vec<Row>> {
    text.lines().map(|line| row(&serde_json::from_str(line)?).map_err(anyhow::Error::msg)).collect()
}

/// A line of JSONL as a row.
pub fn row(line: &Value) -> Result<Row, String> {
    let object = line.as_object().ok_or("not a JSON object")?;
    let text = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("`{key}` is empty")),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{key}` is not a string")),
    };
    match (text("text")?, text("prompt")?, text("completion")?) {
        (Some(text), None, None) => Ok(Row::Text(text)),
        (None, Some(prompt), Some(mut completion)) => {
            // A completion starts a word of its own, as it does when the model continues a prompt.
            if !prompt.ends_with(char::is_whitespace)
                && !completion.starts_with(char::is_whitespace)
            {
                completion.insert(0, ' ');
            }
            Ok(Row::Pair { prompt, completion })
        }
        (None, Some(_), None) => Err("`prompt` has no `completion`".to_owned()),
        (None, None, Some(_)) => Err("`completion` has no `prompt`".to_owned()),
        (None, None, None) => Err("no `text`, and no `prompt` with `completion`".to_owned()),
        (Some(_), ..) => Err("`text` stands beside `prompt` or `completion`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use cog_train::data::Dataset;

    use super::*;

    fn open(name: &str, bytes: &[u8]) -> Result<File, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        File::open(&file, &CancelToken::new()).map_err(|error| {
            let text = error.to_string();
            assert!(text.contains(name), "{text}");
            text
        })
    }

    /// The rows of a file, and that it has rows.
    fn read(name: &str, text: &str) -> (Vec<Row>, bool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        match File::open(&file, &CancelToken::new()).unwrap() {
            File::Rows(rows) => {
                let row = |at| row(&rows.item(at).unwrap()).unwrap();
                ((0..rows.len()).map(row).collect(), true)
            }
            File::Text(text) => {
                ((0..text.len()).map(|at| Row::Text(text.item(at).unwrap())).collect(), false)
            }
        }
    }

    #[test]
    fn rows_are_texts_or_pairs() {
        let lines =
            "{\"text\": \"a b\"}\n\n{\"prompt\": \"Q?\", \"completion\": \"A.\", \"id\": 7}\r\n";
        let pair = Row::Pair { prompt: "Q?".to_owned(), completion: " A.".to_owned() };
        let rows = vec![Row::Text("a b".to_owned()), pair];
        assert_eq!(read("a.jsonl", lines), (rows.clone(), true));
        assert_eq!(parse(&lines.replace("\n\n", "\n")).unwrap(), rows);
    }

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let lines = [
            r#"{"text": "good"}"#,
            r#"{"text": }"#,
            r#"{"text": 3}"#,
            r#"{"text": " "}"#,
            r#"["text"]"#,
            r#"{"txt": "a"}"#,
            r#"{"prompt": "a"}"#,
            r#"{"completion": "a"}"#,
            r#"{"text": "a", "prompt": "b"}"#,
        ];
        let error = open("a.jsonl", lines.join("\n").as_bytes()).err().unwrap();
        assert!(
            error.ends_with(
                "8 rows cannot be used\n  \
                 line 2: not JSON: expected value at column 10\n  \
                 line 3: `text` is not a string\n  \
                 line 4: `text` is empty\n  \
                 line 5: not a JSON object\n  \
                 line 6: no `text`, and no `prompt` with `completion`\n  \
                 line 7: `prompt` has no `completion`\n  \
                 line 8: `completion` has no `prompt`\n  \
                 line 9: `text` stands beside `prompt` or `completion`"
            ),
            "{error}"
        );
    }

    #[test]
    fn files_without_rows_or_text_are_refused_by_name() {
        let refused = |name: &str, bytes: &[u8]| open(name, bytes).err().unwrap();
        assert!(refused("none.jsonl", b"\n\n").contains("it has no rows"));
        assert!(refused("empty.txt", b"").contains("it is empty"));
        assert!(
            refused("latin.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xe9\"}").contains("line 2")
        );
        assert!(refused("latin.txt", b"a\n\xe9").contains("line 2 is not UTF-8"));
    }

    #[test]
    fn the_kind_of_a_file_is_its_ending_or_its_first_character() {
        let line = "{\"text\": \"a\"}";
        for (name, text, row, rows) in [
            ("a.txt", line, line, false),
            ("a.jsonl", line, "a", true),
            ("fetched", line, "a", true),
            ("plain", "plain", "plain", false),
            ("marked", "\u{feff} \n{\"text\": \"a\"}", "a", true),
        ] {
            assert_eq!(read(name, text), (vec![Row::Text(row.to_owned())], rows), "{name}");
        }
    }
}
