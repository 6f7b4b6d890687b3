//! The answer on standard output, and the files of an output.

use std::process::Stdio;

use serde_json::Value;

use crate::probe;
use crate::sandbox::Outcome;

#[test]
fn the_answer_as_json_is_one_object_and_alone_on_standard_output() {
    let here = probe();
    let said = here.run(&["--json", r#"{"epochs": 1, "seed": 9}"#]).expect(0);
    let answer = said.json();
    assert_eq!(answer["status"], "succeeded");
    assert_eq!(answer["error"], "");
    assert_eq!(answer["output"]["seed"], 9);
    assert_eq!(answer["output"]["weights"], "weights/weights.safetensors");
    assert_eq!(answer["metrics"]["rows"], 7);
    assert!(answer["metrics"]["predict_time"].as_f64().unwrap() > 0.0);
    for line in said.err.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap();
    }

    let said = here.run(&["--format", "json", "-i", "mode=fail"]).expect(1);
    assert_eq!(
        (said.json()["status"].as_str(), said.json()["output"].is_null()),
        (Some("failed"), true)
    );
    assert_eq!(said.json()["error"], "set to fail with 3");
    let said = here.run(&["--json", r#"{"epochs": 99}"#]).expect(2);
    assert!(
        said.json()["error"].as_str().unwrap().contains("99 is greater than the maximum of 10")
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let here = probe();
    let mut child =
        here.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said: Outcome = child.wait_with_output().unwrap().into();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}

#[test]
fn a_file_of_the_users_own_in_the_output_folder_stays() {
    let here = probe();
    here.run::<&str>(&[]).expect(0);
    // The output has a text with this name.
    here.file("weights/done", "mine");
    here.run::<&str>(&[]).expect(0);
    assert_eq!(here.read("weights/done"), "mine");
}

#[test]
fn an_output_that_has_no_place_is_refused_before_the_training() {
    let here = probe();
    here.file("weights", "mine");
    let said = here.run::<&str>(&[]).expect(2);
    assert!(said.err.starts_with("error: `-o weights` is not a folder"), "{}", said.err);
    assert_eq!(here.names(), ["weights"]);
}
