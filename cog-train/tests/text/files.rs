//! Files of rows in each kind and format.

use cog_train::CancelToken;
use cog_train::data::Dataset;
use cog_train::text::{Chat, Format, Label, Row, TextRows};

fn open(name: &str, content: &str) -> Result<(Format, Vec<Row>), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    let named = |message: String| message.replace(&format!("{}/", dir.path().display()), "");
    let rows =
        TextRows::open(&path, &CancelToken::new()).map_err(|error| named(error.to_string()))?;
    assert_eq!(rows.digest().unwrap().len(), 64);
    Ok((rows.format(), (0..rows.len()).map(|at| rows.item(at).unwrap()).collect()))
}

#[test]
fn lines_arrays_and_tables_hold_the_same_rows() {
    let expected = vec![
        Row::Labelled { text: "007, \"é\"\nagain".to_owned(), label: Label::Id(1) },
        Row::Labelled { text: "b".to_owned(), label: Label::Name("good".to_owned()) },
    ];
    let lines = "{\"text\": \"007, \\\"é\\\"\\nagain\", \"label\": 1}\n{\"text\": \"b\", \"label\": \"good\"}\n";
    let array = format!("\u{feff} [{}]", lines.trim().replace('\n', ",\n"));
    for (name, content) in [
        ("a.jsonl", lines),
        ("a.json", lines),
        ("a", lines),
        ("b.json", &array),
        ("a.csv", "label,text\n1,\"007, \"\"é\"\"\nagain\"\ngood,b\n"),
        ("a.TSV", "text\tlabel\n\"007, \"\"é\"\"\nagain\"\t1\nb\tgood\n"),
    ] {
        assert_eq!(open(name, content).unwrap(), (Format::Labelled, expected.clone()), "{name}");
    }
    let chat = "messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"q\"\"}]\"\n";
    assert_eq!(open("chat.csv", chat).unwrap().1, [Row::Chat(Chat::of([("user", "q")]))]);
}

#[test]
fn rows_that_cannot_be_used_are_named_with_file_and_line() {
    for (name, content, expected) in [
        (
            "a.jsonl",
            "{\"promt\": \"\", \"completion\": \"\"}\n",
            "data `a.jsonl`: 1 row cannot be used\n  line 1: the keys `promt`, `completion` are those of no format; the nearest is \
             `prompt`, `completion`, where `prompt` is missing",
        ),
        (
            "a.jsonl",
            "{\"text\": \"\"}\n\n{\"messages\": []}\n{\"text\": 1}\n[]\n",
            "data `a.jsonl`: 3 rows cannot be used\n  line 3: `text` is missing\n  line 4: `text` is not a string\n  line 5: not a JSON object",
        ),
        ("a.json", "[{\"text\": \"\"}, {\"txt\": 1}]", "data `a.json row 2`: `text` is missing"),
        (
            "a.json",
            "[{]",
            "data `a.json`: not a JSON array: key must be a string at line 1 column 3",
        ),
        ("a.json", "[]", "data `a.json`: it has no rows"),
        ("a.json", " \n", "data `a.json`: it is empty"),
        ("a.csv", "text,labl\na,b\n", ""),
        (
            "b.csv",
            "txt\na\n",
            "data `b.csv`: 1 row cannot be used\n  line 2: the keys `txt` are those of no format; the nearest is `text`, where `text` is missing",
        ),
        (
            "a.md",
            "# Title",
            "data `a.md`: its rows are of no known kind\nhint: rows are read from `.jsonl`, `.json`, `.csv`, `.tsv` and `.parquet`",
        ),
    ] {
        match open(name, content) {
            Ok((format, _)) => assert!(expected.is_empty() && format == Format::Text, "{content}"),
            Err(message) => assert_eq!(message, expected),
        }
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_needs_its_feature() {
    let message = open("a.parquet", "PAR1").unwrap_err();
    assert!(
        message.contains(
            "this program cannot read Parquet files\nhint: build it with the feature `parquet`"
        ),
        "{message}"
    );
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_that_is_none_is_refused() {
    assert!(open("a.parquet", "PAR1").unwrap_err().starts_with("data `a.parquet`: "));
}
