//! `--plan`: all that is known of a run, and nothing of it done.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

fn probe() -> Sandbox {
    Sandbox::new("probe")
}

const UNKNOWN: &str = "the trainer has a loop of its own: nothing else is known of the run";

#[test]
fn a_plan_says_where_each_input_comes_from_and_leaves_nothing() {
    let here = probe();
    here.file("data.txt", "12345");
    let before = here.tree();
    let args = [
        "--plan",
        "-i",
        "data=data.txt",
        "-i",
        "token=canary-x",
        "-i",
        "mode=deaf",
        "-e",
        "A=canary-y",
    ];
    let said = here.run(&args).expect(0);
    assert_eq!(
        said.out,
        format!(
            "mode       deaf                given
epochs     3                   default
data       data.txt (5 bytes)  given
more       []                  default
token      **********          given
optimizer  adamw               default
seed       -                   not given
A          set by -e           environment
epochs 3 with adamw
{UNKNOWN}
"
        )
    );
    assert!(said.err.contains("setup says hello"), "{}", said.err);
    assert!(!said.err.contains("panic") && !said.err.contains("canary"), "{}", said.err);
    assert_eq!(here.tree(), before);
}

#[test]
fn a_plan_as_json_is_one_object() {
    let here = probe();
    let said = here.run(&["--plan", "--json", r#"{"epochs": 2, "seed": 4}"#]).expect(0);
    let plan = said.json();
    assert_eq!(plan["status"], "planned");
    assert_eq!(plan["inputs"]["epochs"], json!({"value": 2, "origin": "given"}));
    assert_eq!(plan["inputs"]["optimizer"], json!({"value": "adamw", "origin": "default"}));
    assert_eq!(plan["seed"], json!({"value": 4, "origin": "input"}));
    assert_eq!(plan["device"], "cpu");
    assert_eq!(plan["plan"].as_array().unwrap().last().unwrap(), UNKNOWN);
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn the_plan_of_a_resumed_run_takes_its_inputs_and_changes_nothing() {
    let here = probe();
    here.run(&["-i", "mode=fail", "-i", "epochs=2", "--run-dir", "r"]).expect(1);
    let before = here.tree();
    let said = here.run(&["--plan", "--resume", "--run-dir", "r", "--format", "json"]).expect(0);
    assert_eq!(said.json()["inputs"]["epochs"], json!({"value": 2, "origin": "run.json"}));
    assert_eq!(said.json()["seed"]["origin"], "run.json");
    let said = here.run(&["--plan", "--resume", "--run-dir", "r", "-i", "epochs=3"]).expect(2);
    assert!(said.err.contains("`epochs`: 2 before, 3 now"), "{}", said.err);
    assert_eq!(here.tree(), before);
}

#[test]
fn a_dry_run_refuses_what_a_run_would_refuse() {
    let here = probe();
    here.file("plain", "");
    for (args, code) in [
        (["--plan", "-o", "plain/weights"], 1),
        (["--plan", "--run-dir", "plain/run"], 1),
        (["--plan", "--run-dir", "plain"], 2),
        (["--plan", "-i", "epochs=99"], 2),
        (["--plan", "-e", "PROBE_SETUP_FAILS=1"], 1),
    ] {
        let said = here.run(&args).expect(code);
        assert_eq!(said.err.matches("error: ").count(), 1, "{args:?}: {}", said.err);
    }
    let said = here.run(&["--plan", "--format", "json", "-i", "epochs=99"]).expect(2);
    assert_eq!(said.json()["status"], Value::from("failed"));
    assert_eq!(here.names(), ["plain"]);
}
