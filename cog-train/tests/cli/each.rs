//! `predict --each`: a line of JSON for each row, in order, with one setup.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const ROWS: &str = "{\"prompt\": \"one\"}\n\n{\"promt\": \"two\"}\nnot JSON\n@rows.jsonl\n{\"prompt\": \"\u{e9}\"}\n";

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_row_has_a_line_with_its_output_or_its_error() {
    let here = Sandbox::new("probe");
    here.file("rows.jsonl", ROWS);
    let said = here.run(&["predict", "--each", "rows.jsonl"]).expect(1);
    let found = lines(&said.out);
    assert_eq!(found.len(), 5, "the empty line is no row: {}", said.out);
    assert_eq!(found[0]["output"]["text"], "one");
    assert_eq!(found[4], json!({"output": {"text": "\u{e9}", "first": null}}));
    let error = found[1]["error"].as_str().unwrap();
    assert!(error.contains("`promt`: no such input") && error.contains("prompt"), "{error}");
    assert!(found[2]["error"].as_str().unwrap().contains("not a JSON object"), "{}", found[2]);
    assert!(found[3]["error"].as_str().unwrap().contains("not a JSON object"), "no file is read");
    assert_eq!(said.err.matches("setting up").count(), 1, "{}", said.err);
    assert!(said.err.ends_with("error: 3 of 5 rows failed\n"), "{}", said.err);
    assert!(!here.path("runs").exists());
}

/// A file that an editor has saved in Latin-1, and one that was cut within a character.
#[test]
fn a_row_that_is_not_utf_8_is_one_error_at_its_place() {
    let here = Sandbox::new("probe");
    let bytes = b"{\"prompt\": \"one\"}\r\n{\"prompt\": \"caf\xe9\"}\n{\"prompt\": \"three\"}\n{\"p\": \"\xe6\x97";
    here.file("rows.jsonl", bytes);
    let said = here.run(&["predict", "--each", "rows.jsonl"]).expect(1);
    let found = lines(&said.out);
    assert_eq!(found.len(), 4, "{}", said.out);
    assert_eq!([&found[0], &found[2]].map(|it| &it["output"]["text"]), ["one", "three"]);
    let error = "the row is not UTF-8 text: byte 15 does not belong to a character";
    assert_eq!(found[1], json!({"error": error}));
    assert!(found[3]["error"].as_str().unwrap().contains("byte 7 does not belong"), "{}", found[3]);
    assert!(said.err.ends_with("error: 2 of 4 rows failed\n"), "{}", said.err);
}

#[test]
fn a_file_of_results_appears_whole_and_its_rows_may_come_from_standard_input() {
    let here = Sandbox::new("probe");
    here.file("rows.jsonl", "{\"prompt\": \"one\"}\n{\"prompt\": \"two\"}");
    here.file("out/all.jsonl", "earlier");
    here.run(&["predict", "--each", "rows.jsonl", "-o", "out/all.jsonl"]).expect(0);
    let found = lines(&here.read("out/all.jsonl"));
    assert_eq!((found.len(), &found[1]["output"]["text"]), (2, &json!("two")));
    assert_eq!(std::fs::read_dir(here.path("out")).unwrap().count(), 1, "nothing staged stays");
    let mut command = here.command(&["predict", "--each", "-"]);
    command.stdin(std::fs::File::open(here.path("rows.jsonl")).unwrap());
    let output = command.output().unwrap();
    assert_eq!(lines(&String::from_utf8(output.stdout).unwrap()), found);
}

#[test]
fn rows_of_a_pipe_are_read_once() {
    let here = Sandbox::new("probe");
    let mut command = here.command(&["predict", "--each", "/dev/stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let rows = b"{\"prompt\": \"one\"}\n{\"prompt\": \"two\"}\n";
    child.stdin.take().unwrap().write_all(rows).unwrap();
    let output = child.wait_with_output().unwrap();
    let found = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((found.len(), &found[1]["output"]["text"]), (2, &json!("two")));
}

#[test]
fn what_fails_for_all_rows_fails_once() {
    let here = Sandbox::new("probe");
    let rows = here.file("rows.jsonl", "{\"prompt\": \"one\"}\n");
    for (args, code, expected) in [
        (&["predict", "--each", "none.jsonl"][..], 1, "cannot open `none.jsonl`"),
        (&["predict", "--each", "rows.jsonl", "-o", "rows.jsonl"], 2, "is the file of the rows"),
        (&["predict", "--each", "rows.jsonl", "-o", "."], 2, "is a folder"),
        (&["predict", "--each", "rows.jsonl", "-i", "prompt=x"], 2, "cannot be used with"),
        (&["predict", "--each", "rows.jsonl", "--inputs", "i.yaml"], 2, "cannot be used with"),
    ] {
        let said = here.run(args).expect(code);
        assert!(said.err.contains(expected), "{}", said.err);
        assert!(said.out.is_empty(), "{}", said.out);
    }
    assert_eq!(std::fs::read_to_string(rows).unwrap(), "{\"prompt\": \"one\"}\n");
    let mut command = here.command(&["predict", "--each", "rows.jsonl"]);
    let output = command.env("COG_WEIGHTS", "none.safetensors").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("none.safetensors") && output.stdout.is_empty(), "{error}");
}
