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
    let bytes = "\u{feff}{\"text\": \"a\"}\r\n\r\n \n{\"text\": \"\u{e4}\"}\n\n{\"text\": \"c\"}";
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
    let rows =
        texts(b"{\"text\": \"a\"}\r{\"text\": \"b\"}\r\n\r{\"text\": \"c\"}\n{\"text\": \"d\"}\r");
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
             line 2: the key `a` is there twice at column 20\n  \
             line 3: not JSON: expected value at column 14\n  \
             line 4: the key `a` is there twice at column 24\n  \
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
    std::fs::write(&path, format!("short\n{}\nshort\n1234567890\n", "x".repeat(200_000))).unwrap();
    let error = Lines::open(&path, 10, &CancelToken::new(), |_| Ok(())).unwrap_err().to_string();
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
    assert!(rows.item(2).unwrap_err().to_string().ends_with("row 3 is out of range: there are 2"));
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
