//! The command line where a person who knows Cog's would notice a difference, and the calls by which Cog starts an image.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::sandbox::{Outcome, Sandbox};

#[test]
fn one_pair_of_quotes_around_a_value_is_taken_off() {
    let here = Sandbox::new("probe");
    here.file("data.txt", "12345");
    let said = here
        .run(&["-i", "epochs=\"2\"", "-i", "data=\"@data.txt\"", "-i", "optimizer=\"sgd\""])
        .expect(0);
    assert!(said.err.contains("epochs 2 with sgd"), "{}", said.err);
    assert!(said.out.contains("bytes 5"), "{}", said.out);
    let said = here.run(&["predict", "-i", "prompt=\"\"hi\"\""]).expect(0);
    assert!(said.out.contains(r#""text": "\"hi\"""#), "{}", said.out);
}

#[test]
fn a_file_goes_into_a_folder_that_exists() {
    let here = Sandbox::new("tiny_fit");
    here.file("out/notes.txt", "mine");
    for run in ["r1", "r2"] {
        let args = ["-i", "steps=1", "-i", "pause=0", "-o", "out", "--run-dir", run];
        let said = here.run(&args).expect(0);
        assert!(said.out.starts_with("trained: out/"), "{}", said.out);
    }
    assert_eq!(here.names(), ["out", "r1", "r2"]);
    assert_eq!(std::fs::read_dir(here.path("out")).unwrap().count(), 2);
    assert_eq!(here.read("out/notes.txt"), "mine");
}

#[test]
fn standard_output_takes_a_value_and_refuses_files() {
    let here = Sandbox::new("probe");
    for output in ["-", ""] {
        let said = here.run(&["predict", "-i", "prompt=hi", "-o", output]).expect(0);
        assert_eq!(said.out, "{\n  \"text\": \"hi\",\n  \"first\": null\n}\n");
        let said = here.run(&["-o", output]).expect(2);
        assert!(
            said.err.contains("is standard output, and the output holds files"),
            "{}",
            said.err
        );
        assert!(!said.err.contains("setup says"), "refused before the training: {}", said.err);
    }
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn json_writes_the_answer_into_the_file() {
    let here = Sandbox::new("probe");
    let said = here.run(&["predict", "--json", r#"{"prompt": "hi"}"#, "-o", "a.json"]).expect(0);
    let answer: Value = serde_json::from_str(&here.read("a.json")).unwrap();
    assert_eq!(answer, said.json());
    assert_eq!(answer["output"], json!({"text": "hi", "first": null}));

    let said = here.run(&["--json", r#"{"seed": 9}"#, "-o", "b.json"]).expect(0);
    let answer: Value = serde_json::from_str(&here.read("b.json")).unwrap();
    assert_eq!(answer, said.json());
    assert_eq!(answer["output"]["weights"], "b/weights.safetensors");
    assert_eq!(answer["metrics"]["rows"], 7);
    assert!(here.path("b/weights.safetensors").is_file());
    // A run that fails leaves the answer of the last one that did not.
    let said = here.run(&["--json", r#"{"mode": "fail"}"#, "-o", "b.json"]).expect(1);
    assert_eq!(said.json()["status"], "failed");
    assert_eq!(serde_json::from_str::<Value>(&here.read("b.json")).unwrap(), answer);
}

#[test]
fn under_the_name_of_python_the_calls_of_platforms_are_answered() {
    let here = Sandbox::new("probe");
    std::os::unix::fs::symlink(here.program(), here.path("python")).unwrap();
    let python = |args: &[&str]| -> Outcome {
        let mut command = Command::new(here.path("python"));
        command
            .args(args)
            .current_dir(here.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into()
    };
    assert!(python(&["--version"]).expect(0).out.starts_with("Python 3."));
    assert_eq!(python(&["-m", "pip", "freeze"]).expect(0).out, "");
    let said = python(&["--check-hash-based-pycs", "never", "-m", "pip", "freeze"]).expect(0);
    assert_eq!((said.out, said.err), (String::new(), String::new()));
    for args in [&["train.py"][..], &["-c", "1"], &[]] {
        let said = python(args).expect(2);
        assert!(
            said.err.starts_with("error: there is no Python here: `python` is "),
            "{}",
            said.err
        );
    }
    assert_eq!(here.names(), ["python"]);
}

#[test]
fn the_schema_on_one_line_is_the_same_and_stands_in_the_dockerfile() {
    let here = Sandbox::new("probe");
    let compact = here.run(&["schema", "--compact"]).expect(0);
    assert_eq!(compact.out.lines().count(), 1);
    assert_eq!(compact.json(), here.run(&["schema"]).expect(0).json());
    let file = here.run(&["dockerfile", "--features", "parquet"]).expect(0).out;
    let (_, argument) = file.split_once("ARG OPENAPI_SCHEMA=\"").unwrap();
    let (argument, _) = argument.split_once("\"\n").unwrap();
    let plain = argument
        .replace("\\\n", "")
        .replace("\\\"", "\"")
        .replace("\\$", "$")
        .replace("\\\\", "\\");
    assert_eq!(plain, compact.out.trim_end());
    let build = " && cargo build --release --locked --package cog-train --example probe --features parquet\n";
    assert_eq!(file.matches(build.trim_end()).count(), 2, "{file}");
    let said = here.run(&["dockerfile", "--features", "a b"]).expect(2);
    assert_eq!(said.err, "error: `--features`: `a b` is not the name of a feature\n");
}
