//! `--inputs FILE` of a trainer, and the record of it.

use serde_json::{Value, json};

use crate::tool;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/classify/base");
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/classify/data/reviews.jsonl");

#[test]
fn a_file_of_inputs_stands_for_options_and_an_option_overrides_it() {
    let here = tool();
    here.file(
        "run.yaml",
        format!("base_model: {BASE}\ntrain_data: {DATA}\nepochs: 5 # too many\n"),
    );
    here.run(&["classify", "--inputs", "run.yaml", "-i", "epochs=1", "--run-dir", "a"]).expect(0);
    let run: Value = serde_json::from_str(&here.read("a/run.json")).unwrap();
    assert_eq!(run["inputs"]["epochs"], json!({"value": 1, "origin": "given"}));
    assert_eq!(
        run["inputs"]["base_model"],
        json!({"value": BASE, "origin": "given", "place": "run.yaml:1:13"})
    );

    // The run's record repeats it.
    let weights = std::fs::read(here.path("weights/model/model.safetensors")).unwrap();
    here.run(&["classify", "--inputs", "a/run.json", "--run-dir", "b", "-o", "again"]).expect(0);
    assert!(weights == std::fs::read(here.path("again/model/model.safetensors")).unwrap());
    let said = here.run(&["sft", "--inputs", "a/run.json"]).expect(2).err;
    assert!(
        said.contains("the record of a run of `classify`, and this is `TextFinetune`"),
        "{said}"
    );

    let said = here.run(&["classify", "--inputs", "run.yaml", "--dry-run"]).expect(0).out;
    assert!(said.contains("given in run.yaml:3:9"), "{said}");
    here.run(&["classify", "--inputs", "run.yaml", "-i", "epochs=1", "--run-dir", "a", "--resume"])
        .expect(0);

    here.file("question.json", r#"{"text": "the room was lovely"}"#);
    let weights = here.path("weights/model");
    let mut command = here.command(&["classify", "predict", "--inputs", "question.json"]);
    let answer = command.env("COG_WEIGHTS", weights).output().unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert!(answer["label"].is_string(), "{answer}");
}

#[test]
fn mistakes_in_the_file_have_their_line_and_column() {
    let here = tool();
    here.file("run.yaml", "train_data: gone.jsonl\nepochs: many\nlearning_rte: 0.1\n");
    let said = here.run(&["classify", "--inputs", "run.yaml"]).expect(2).err;
    assert_eq!(
        said,
        "error: 3 inputs are not valid
  run.yaml:2:9: `epochs`: \"many\" is not of type \"integer\"
  run.yaml:3:1: `learning_rte`: no such input
  hint: did you mean `learning_rate`?
  `base_model`: Field required
"
    );
    here.file("run.yaml", "epochs: [1\n");
    let said = here.run(&["sft", "--inputs", "run.yaml"]).expect(2).err;
    assert_eq!(
        said,
        "error: 1 mistake in `run.yaml`\n  run.yaml:1:9: `[` is opened and never closed\n"
    );
    let said = here.run(&["sft", "--inputs", "gone.yaml"]).expect(2).err;
    assert!(said.contains("`--inputs`: cannot read `gone.yaml`: no such file"), "{said}");
    let said = here.run(&["sft", "--inputs", "run.yaml", "--json", "{}"]).expect(2).err;
    assert!(said.contains("cannot be used with"), "{said}");
    assert!(here.names().iter().all(|name| name.starts_with('.') || name == "run.yaml"));
}
