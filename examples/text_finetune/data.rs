//! Training rows from a file: JSONL with texts or pairs, or a plain text.

use std::path::Path;

use cog_train::prelude::*;
use cog_train::rng::Rng;
use cog_train::serde_json::{self, Value};

/// How many mistakes of a file are shown.
const SHOWN: usize = 20;

/// What is learned from.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// `{"text": "..."}`, or the whole of a plain text file.
    Text(String),
    /// `{"prompt": "...", "completion": "..."}`: only the completion is learned.
    Pair { prompt: String, completion: String },
}

/// Reads a file: `.txt` and `.md` as one text, `.json`, `.jsonl` and `.ndjson` as rows, others by their first character.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{name}`"))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        anyhow::anyhow!("`{name}`: line {line} is not UTF-8\nhint: save the file as UTF-8")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let rows = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json" | "jsonl" | "ndjson") => true,
        Some("txt" | "md") => false,
        _ => text.trim_start().starts_with('{'),
    };
    if rows {
        parse(text).with_context(|| format!("`{name}` cannot be trained on"))
    } else {
        ensure!(!text.trim().is_empty(), "`{name}` is empty");
        Ok(vec![Row::Text(text.to_owned())])
    }
}

/// Reads JSONL. All lines that are wrong are told at once, up to [`SHOWN`] of them.
pub fn parse(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match row(line) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(format!("line {}: {problem}", at + 1)),
        }
    }
    if !problems.is_empty() {
        let count = problems.len();
        problems.truncate(SHOWN);
        if count > SHOWN {
            problems.push(format!("and {} more", count - SHOWN));
        }
        bail!(
            "{count} {} no training row\n  {}\nhint: a line is {{\"text\": \"...\"}} or {{\"prompt\": \"...\", \"completion\": \"...\"}}",
            if count == 1 { "line is" } else { "lines are" },
            problems.join("\n  "),
        );
    }
    ensure!(!rows.is_empty(), "it has no rows");
    Ok(rows)
}

fn row(line: &str) -> Result<Row, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        let place = error.to_string();
        format!("not JSON: {}", place.replace(" at line 1 column", " at column"))
    })?;
    let object = value.as_object().ok_or("not a JSON object")?;
    let text = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("`{key}` is empty")),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{key}` is not a string")),
    };
    match (text("text")?, text("prompt")?, text("completion")?) {
        (Some(text), None, None) => Ok(Row::Text(text)),
        (None, Some(prompt), Some(mut completion)) => {
            // A completion starts a word of its own, as it will when the model goes on from a prompt.
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

/// Puts a tenth of the items aside, at least one and at most 200, to measure on. Which ones is a function of their
/// number alone, so that runs with different seeds measure on the same.
pub fn hold_out<T>(items: Vec<T>) -> Result<(Vec<T>, Vec<T>)> {
    let count = items.len();
    ensure!(
        count >= 2,
        "there is only one example, and one is needed to measure on\nhint: give at least two"
    );
    let mut order: Vec<usize> = (0..count).collect();
    Rng::new(0, "held-out").at(0).shuffle(&mut order);
    order.truncate((count / 10).clamp(1, 200));
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (at, item) in items.into_iter().enumerate() {
        if order.contains(&at) { &mut held_out } else { &mut train }.push(item);
    }
    Ok((train, held_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_texts_or_pairs() {
        let rows = parse(
            "{\"text\": \"a b\"}\n\n{\"prompt\": \"Q?\", \"completion\": \"A.\", \"id\": 7}\r\n",
        )
        .unwrap();
        let pair = Row::Pair { prompt: "Q?".to_owned(), completion: " A.".to_owned() };
        assert_eq!(rows, [Row::Text("a b".to_owned()), pair]);
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
        let error = parse(&lines.join("\n")).unwrap_err().to_string();
        assert_eq!(
            error,
            "8 lines are no training row\n  \
             line 2: not JSON: expected value at column 10\n  \
             line 3: `text` is not a string\n  \
             line 4: `text` is empty\n  \
             line 5: not a JSON object\n  \
             line 6: no `text`, and no `prompt` with `completion`\n  \
             line 7: `prompt` has no `completion`\n  \
             line 8: `completion` has no `prompt`\n  \
             line 9: `text` stands beside `prompt` or `completion`\n\
             hint: a line is {\"text\": \"...\"} or {\"prompt\": \"...\", \"completion\": \"...\"}"
        );
        let error = parse(&"x\n".repeat(25)).unwrap_err().to_string();
        assert!(error.contains("line 20:") && !error.contains("line 21:"), "{error}");
        assert!(error.starts_with("25 lines") && error.contains("and 5 more"), "{error}");
    }

    #[test]
    fn files_without_rows_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |name: &str, bytes: &[u8]| {
            let file = dir.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let error = format!("{:#}", read(&file).unwrap_err());
            assert!(error.contains(name), "{error}");
            error
        };
        assert!(refused("none.jsonl", b"\n\n").contains("it has no rows"));
        assert!(refused("empty.txt", b" \n").contains("is empty"));
        assert!(
            refused("latin.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xe9\"}")
                .contains("line 2 is not UTF-8")
        );
    }

    #[test]
    fn the_kind_of_a_file_is_its_ending_or_its_first_character() {
        let dir = tempfile::tempdir().unwrap();
        let line = "{\"text\": \"a\"}";
        for (name, text, row) in [
            ("a.txt", line, line),
            ("a.jsonl", line, "a"),
            ("fetched", line, "a"),
            ("plain", "plain", "plain"),
            ("bom.jsonl", "\u{feff}{\"text\": \"a\"}", "a"),
        ] {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file).unwrap(), [Row::Text(row.to_owned())], "{name}");
        }
    }

    #[test]
    fn held_out_items_are_a_tenth_and_always_the_same() {
        let items: Vec<u32> = (0..95).collect();
        let (train, held_out) = hold_out(items.clone()).unwrap();
        assert_eq!((train.len(), held_out.len()), (86, 9));
        assert_eq!(hold_out(items.clone()).unwrap(), (train.clone(), held_out.clone()));
        let mut all = [train, held_out].concat();
        all.sort_unstable();
        assert_eq!(all, items);
        assert_eq!(hold_out(vec![1, 2]).unwrap().1.len(), 1);
        assert!(hold_out(vec![1]).is_err());
    }
}
