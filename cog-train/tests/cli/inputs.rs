//! Inputs: the ways to give them, and what is refused.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::sandbox::Outcome;
use crate::{CANARY, probe};

#[test]
fn bad_inputs_are_reported_all_at_once_and_nothing_is_left() {
    let here = probe();
    let said = here.run(&["-i", "epochs=300", "-i", "optimizr=sgd", "-i", "mode=dance"]).expect(2);
    assert_eq!(
        said.err,
        "error: 3 inputs are not valid
  `epochs`: 300 is greater than the maximum of 10
  `mode`: \"dance\" is not one of [\"succeed\",\"fail\",\"panic\",\"panic_in_thread\",\"tensor\",\"missing_file\",\"wait\",\"deaf\",\"leak\",\"resume\"]
  `optimizr`: no such input
  hint: did you mean `optimizer`?
"
    );
    assert_eq!(said.out, "");
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn inputs_come_from_standard_input_and_from_a_file() {
    let here = probe();
    here.file("in.json", r#"{"epochs": 2}"#);
    assert_eq!(here.run(&["--json", "@in.json"]).expect(0).json()["status"], "succeeded");
    let mut child = here
        .command(&["--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"epochs": 4}"#).unwrap();
    let said: Outcome = child.wait_with_output().unwrap().into();
    assert_eq!(said.expect(0).json()["status"], "succeeded");
}

#[test]
fn a_file_that_is_not_there_is_refused_at_its_input() {
    let here = probe();
    let said = here.run(&["-i", "data=gone.jsonl", "-i", "more=also-gone"]).expect(2);
    assert!(said.err.starts_with("error: 2 inputs are not valid\n"), "{}", said.err);
    assert!(
        said.err.contains("`data`: cannot read `gone.jsonl`: no such file or directory"),
        "{}",
        said.err
    );
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn a_data_url_is_a_file() {
    let here = probe();
    let said = here.run(&["-i", "data=data:text/plain;base64,aGVsbG8="]).expect(0);
    assert_eq!(said.out.split('(').nth(1).unwrap().split("bytes ").nth(1).unwrap(), "5)\n");
}

#[test]
fn no_secret_is_in_any_file_log_or_error() {
    let here = probe();
    here.file("token.txt", format!("{CANARY}\n"));
    let token = format!("token={CANARY}");
    let calls: [&[&str]; 7] = [
        &["-i", &token],
        &["-i", "token=@token.txt", "-i", "mode=leak"],
        &["-i", &token, "-i", "mode=leak", "--format", "json"],
        &["-i", &token, "-i", "epochs=99"],
        &["-i", &token, "-i", &token],
        &["--json", &format!(r#"{{"token": ["{CANARY}"]}}"#)],
        &["--json", &format!(r#"{{"token": "{CANARY}", "token": "{CANARY}"}}"#)],
    ];
    for (index, call) in calls.iter().enumerate() {
        let said = here.run(call);
        assert_eq!(said.code, Some([0, 1, 1, 2, 2, 2, 2][index]), "{call:?}\n{}", said.err);
        for text in [&said.out, &said.err] {
            assert!(!text.contains(CANARY), "{call:?}\n{text}");
        }
    }
    std::fs::remove_file(here.path("token.txt")).unwrap();
    let tree = here.tree();
    assert!(
        tree.keys().any(|path| path.ends_with("run.json"))
            && tree.keys().any(|path| path.ends_with("log.txt"))
    );
    for (path, bytes) in tree {
        assert!(
            !bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_whole_number_written_as_a_float_is_the_seed() {
    let here = probe();
    here.run(&["-i", "seed=1.0", "--run-dir", "r"]).expect(0);
    let run: Value = serde_json::from_str(&here.read("r/run.json")).unwrap();
    assert_eq!(run["seed"], json!({"value": 1, "origin": "input"}));
}

#[test]
fn the_content_of_an_address_is_not_copied_into_the_record() {
    let here = probe();
    here.run(&["-i", "data=data:text/plain;base64,aGVsbG8=", "--run-dir", "r"]).expect(0);
    let record = here.read("r/run.json");
    assert!(record.contains("data:text/plain,...") && !record.contains("aGVsbG8"), "{record}");
}

#[test]
fn a_pipe_is_refused_as_a_file() {
    let here = probe();
    assert!(
        std::process::Command::new("mkfifo").arg(here.path("pipe")).status().unwrap().success()
    );
    let said = here.run(&["-i", "data=pipe"]).expect(2);
    assert!(
        said.err.contains("`data`: cannot read `pipe`: it is neither a file nor a folder"),
        "{}",
        said.err
    );
}

#[test]
fn an_input_written_as_an_option_or_a_word_is_answered_with_the_way_to_write_it() {
    let here = probe();
    for (call, expected) in [
        (
            &["--epochs", "3"][..],
            "`--epochs` is an input and not an option\nhint: write `-i epochs=3`\n",
        ),
        (&["--epochs=3"], "`--epochs` is an input and not an option\nhint: write `-i epochs=3`\n"),
        (&["epochs=3"], "`epochs` is an input and not an option\nhint: write `-i epochs=3`\n"),
        (
            &["train", "--epochs", "3"],
            "`--epochs` is an input and not an option\nhint: write `-i epochs=3`\n",
        ),
        (
            &["--token", CANARY],
            "`--token` is an input and not an option\nhint: write `-i token=VALUE`\n",
        ),
    ] {
        let said = here.run(call).expect(2);
        assert_eq!(said.err, format!("error: {expected}"), "{call:?}");
    }
}

#[test]
fn an_argument_near_an_inputs_name_is_answered_with_that_input() {
    let here = probe();
    for (call, expected) in [
        (
            &["--epoch", "3"][..],
            "`--epoch` is neither an option nor an input\nhint: did you mean `-i epochs=3`?\n",
        ),
        (
            &["--epohcs=3"],
            "`--epohcs` is neither an option nor an input\nhint: did you mean `-i epochs=3`?\n",
        ),
        (
            &["epoch=3"],
            "`epoch` is neither an option nor an input\nhint: did you mean `-i epochs=3`?\n",
        ),
        (
            &["predict", "--promt", "hi"],
            "`--promt` is neither an option nor an input\nhint: did you mean `-i prompt=hi`?\n",
        ),
        (
            &["--tokn", CANARY],
            "`--tokn` is neither an option nor an input\nhint: did you mean `-i token=VALUE`?\n",
        ),
    ] {
        let said = here.run(call).expect(2);
        assert_eq!(said.err, format!("error: {expected}"), "{call:?}");
    }
    // Nearer to an option than to any input, and near to nothing.
    let said = here.run(&["--outputs", "3"]).expect(2);
    assert!(said.err.contains("a similar argument exists: '--output'"), "{}", said.err);
    let said = here.run(&["--xyzzy", "3"]).expect(2);
    assert!(said.err.contains("unexpected argument"), "{}", said.err);
}

/// A parser reads `-epochs=3` as the variable `pochs`, and `-output=x` as the output `utput=x`.
#[test]
fn a_name_with_a_single_dash_is_not_taken_for_a_short_option() {
    let here = probe();
    for (call, expected) in [
        (
            &["-epochs=3"][..],
            "`-epochs` is an input and not an option\nhint: write `-i epochs=3`\n",
        ),
        (&["-epochs", "3"], "`-epochs` is an input and not an option\nhint: write `-i epochs=3`\n"),
        (
            &["-optimizer=sgd"],
            "`-optimizer` is an input and not an option\nhint: write `-i optimizer=sgd`\n",
        ),
        (&["-output=x"], "`-output` is not an option\nhint: write `--output`\n"),
        (&["-env", "A=b"], "`-env` is not an option\nhint: write `--env`\n"),
    ] {
        let said = here.run(call).expect(2);
        assert_eq!(said.err, format!("error: {expected}"), "{call:?}");
    }
    assert!(here.names().is_empty(), "{:?}", here.names());
    // Short options with their values.
    here.run(&["-iepochs=2", "-eA=b", "-oout"]).expect(0);
    assert!(here.path("out/output.json").is_file());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_value() {
    let here = probe();
    here.file("optimizer.txt", "\u{feff}sgd\n");
    here.file("in.json", "\u{feff}{\"epochs\": 2}");
    let said = here.run(&["-i", "optimizer=@optimizer.txt"]).expect(0);
    assert!(said.err.contains("epochs 3 with sgd\n"), "{}", said.err);
    let said = here.run(&["--json", "@in.json"]).expect(0);
    assert!(said.err.contains("epochs 2 with adamw"), "{}", said.err);
}
