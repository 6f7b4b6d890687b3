//! `--resume`: what is gone on with, what is refused, and that nothing is trained twice.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::place::{Place, Said};

const TOKEN: &str = "canary-91ab";

fn probe() -> Place {
    Place::new("probe")
}

fn record(here: &Place, dir: &str) -> Value {
    serde_json::from_str(&here.read(&format!("{dir}/run.json"))).unwrap()
}

/// Starts the probe and waits until it waits.
fn waiting(here: &Place, args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut command = here.command(args);
    command.env("PROBE_WAIT_AT", "2").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "it ended before it waited");
    }
    (child, err)
}

/// Runs the probe up to its second step and sends it a signal there.
fn interrupted(here: &Place, args: &[&str], signal: &str) -> Said {
    let (child, mut err) = waiting(here, args);
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut err, &mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    Said { code: output.status.code(), out: String::from_utf8(output.stdout).unwrap(), err: text }
}

const COUNT: [&str; 4] = ["-i", "mode=resume", "-i", "epochs=5"];

fn count<'a>(more: &[&'a str]) -> Vec<&'a str> {
    COUNT.iter().chain(more).copied().collect()
}

#[test]
fn an_interrupted_run_goes_on_and_leaves_what_a_straight_one_leaves() {
    let here = probe();
    here.file("data.txt", "12345");
    let said = interrupted(&here, &count(&["-i", "data=data.txt", "--run-dir", "b"]), "-INT");
    let said = said.expect(130);
    assert!(
        said.err.ends_with("error: cancelled\nnote: `--resume --run-dir b` resumes it\n"),
        "{}",
        said.err
    );
    let before = record(&here, "b");
    assert_eq!(before["status"], "canceled");
    let seed = before["seed"]["value"].as_u64().unwrap();

    let said = here.run(&["--resume", "--run-dir", "b"]).expect(0);
    assert!(
        said.err.contains("resuming `b`\n") && said.err.contains("from step 2\n"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("warning"), "{}", said.err);
    assert_eq!(said.out, format!("trained: weights/ (seed {seed}, bytes 5)\n"));
    here.run(&count(&["-i", &format!("seed={}", seed.cast_signed()), "--run-dir", "a"])).expect(0);
    for file in ["log.txt", "metrics.jsonl", "count.txt"] {
        assert_eq!(here.read(&format!("a/{file}")), here.read(&format!("b/{file}")), "{file}");
    }

    let after = record(&here, "b");
    assert_eq!(after["status"], "succeeded");
    assert_eq!(after["error"], Value::Null);
    for same in ["id", "started_at", "seed", "inputs", "trainer"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    let resumed = after["resumed"].as_array().unwrap();
    assert_eq!(resumed.len(), 1);
    assert_eq!(resumed[0]["version"], env!("CARGO_PKG_VERSION"));
    assert!(resumed[0]["at"].as_str().unwrap() > before["started_at"].as_str().unwrap());
}

#[test]
fn without_a_run_dir_the_trainers_newest_run_is_gone_on_with() {
    let here = probe();
    interrupted(&here, &count(&["--run-dir", "runs/b-old"]), "-INT").expect(130);
    interrupted(&here, &count(&["--run-dir", "runs/a-new"]), "-TERM").expect(130);
    here.file("runs/z-other/run.json", r#"{"trainer": "Other", "started_at": "9999"}"#);
    here.file("runs/z-broken/run.json", "{");
    let said = here.run(&["--resume"]).expect(0);
    assert!(said.err.contains("resuming `runs/a-new`\n"), "{}", said.err);
    assert_eq!(record(&here, "runs/b-old")["status"], "canceled");
}

#[test]
fn every_changed_input_is_named_and_force_takes_it() {
    let here = probe();
    here.file("data.txt", "12345");
    let args = count(&["-i", "data=data.txt", "--seed", "7", "--run-dir", "r"]);
    interrupted(&here, &args, "-HUP").expect(130);
    here.file("data.txt", "123456");
    let before = here.tree();
    let changed = ["--resume", "--run-dir", "r", "-i", "epochs=6", "--seed", "8"];
    let said = here.run(&changed).expect(2);
    // printf 12345 | sha256sum; printf 123456 | sha256sum
    let expected = "error: the run cannot be resumed: its inputs have changed
  `epochs`: 5 before, 6 now
  `data`: `data.txt` had 5 bytes with SHA-256 5994471abb01 before, 6 bytes with SHA-256 8d969eef6eca now
  `seed`: 7 before, 8 now
hint: `--resume=force` accepts the changes
";
    assert!(said.err.ends_with(expected), "{}", said.err);
    assert_eq!(here.tree(), before, "a refused run stays as it was");

    let mut forced = changed;
    forced[0] = "--resume=force";
    let said = here.run(&forced).expect(0);
    assert!(said.out.contains("(seed 8, bytes 6)"), "{}", said.out);
    let run = record(&here, "r");
    assert_eq!(run["inputs"]["epochs"], json!({"value": 6, "origin": "given"}));
    assert_eq!(run["seed"]["value"], 8);
    assert_eq!(run["resumed"][0]["changed"].as_array().unwrap().len(), 3);
}

#[test]
fn a_file_is_the_same_where_its_content_is() {
    let here = probe();
    here.file("data.txt", "12345");
    interrupted(&here, &count(&["-i", "data=data.txt", "--run-dir", "r"]), "-INT").expect(130);
    std::fs::rename(here.path("data.txt"), here.path("moved.txt")).unwrap();
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    assert!(said.err.contains("`data`: cannot read `data.txt`: no such file"), "{}", said.err);
    here.run(&["--resume", "--run-dir", "r", "-i", "data=moved.txt"]).expect(0);
    assert_eq!(record(&here, "r")["inputs"]["data"]["value"], "moved.txt");
}

#[test]
fn what_was_fetched_is_not_asked_for_again() {
    let here = probe();
    let address = "data=data:text/plain;base64,aGVsbG8=";
    interrupted(&here, &count(&["-i", address, "--run-dir", "r"]), "-INT").expect(130);
    std::fs::rename(here.path("r"), here.path("moved")).unwrap();
    let said = here.run(&["--resume", "--run-dir", "moved", "-o", "one"]).expect(0);
    assert!(said.out.contains("bytes 5)"), "{}", said.out);

    interrupted(&here, &count(&["-i", address, "--run-dir", "r"]), "-INT").expect(130);
    std::fs::remove_dir_all(here.path("r/inputs")).unwrap();
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    assert!(said.err.contains("the file of the input `data` has gone"), "{}", said.err);
    here.run(&["--resume", "--run-dir", "r", "-i", address]).expect(0);
}

#[test]
fn a_secret_must_be_given_again() {
    let here = probe();
    let token = format!("token={TOKEN}");
    interrupted(&here, &count(&["-i", &token, "--run-dir", "r"]), "-INT").expect(130);
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    assert!(
        said.err.ends_with(
            "error: 1 input is not valid
  `token`: it was given to the run, and secrets are not kept
  hint: give it again with `-i token=VALUE`
"
        ),
        "{}",
        said.err
    );
    here.run(&["--resume", "--run-dir", "r", "-i", &token]).expect(0);
    assert!(!here.read("r/run.json").contains(TOKEN));
}

#[test]
fn an_input_that_holds_a_secret_is_masked_and_must_be_given_again() {
    let here = probe();
    let file = format!("{TOKEN}.txt");
    here.file(&file, "12345");
    let (token, data) = (format!("token={TOKEN}"), format!("data={file}"));
    let first = count(&["-i", &token, "-i", &data, "--run-dir", "r"]);
    interrupted(&here, &first, "-INT").expect(130);
    assert!(!here.read("r/run.json").contains(TOKEN), "{}", here.read("r/run.json"));
    let said = here.run(&["--resume", "--run-dir", "r", "-i", &token]).expect(2);
    assert!(
        said.err.ends_with(
            "error: 1 input is not valid
  `data`: its value held a secret, and secrets are not kept
  hint: give it again with `-i data=VALUE`
"
        ),
        "{}",
        said.err
    );
    here.run(&["--resume", "--run-dir", "r", "-i", &token, "-i", &data]).expect(0);
    assert!(!here.read("r/run.json").contains(TOKEN), "{}", here.read("r/run.json"));
}

#[test]
fn with_nothing_to_resume_a_run_starts_and_says_so() {
    let here = probe();
    let said = here.run(&["--resume"]).expect(0);
    assert!(
        said.err.contains("nothing to resume in `runs`: the run starts at step 0\n"),
        "{}",
        said.err
    );
    let said = here.run(&["--resume", "--run-dir", "new"]).expect(0);
    assert!(said.err.contains("nothing to resume in `new`"), "{}", said.err);
    assert!(here.path("new/run.json").is_file());
}

#[test]
fn a_finished_run_is_not_run_again() {
    let here = probe();
    here.file("data.txt", "12345");
    let data = ["-i", "data=data.txt", "-i", "seed=3", "--run-dir", "r"];
    let first = here.run(&data).expect(0);
    let written = here.read("weights/output.json");
    let record = here.read("r/run.json");
    std::fs::remove_dir_all(here.path("weights")).unwrap();
    std::fs::remove_file(here.path("data.txt")).unwrap();

    let said = here.run(&["--resume", "--run-dir", "r"]).expect(0);
    assert_eq!((said.out, here.read("weights/output.json")), (first.out, written));
    assert!(!said.err.contains("setup says"), "{}", said.err);
    let said = here.run(&["--resume", "--run-dir", "r", "--json", "{}", "-o", "other"]);
    assert!(said.err.contains("cannot read `data.txt`"), "given inputs are compared: {}", said.err);
    here.file("data.txt", "12345");
    let said = here.run(&["--resume", "--run-dir", "r", "--json", "{}", "-o", "other"]).expect(0);
    assert_eq!(said.json()["output"]["weights"], "other/weights.safetensors");
    assert_eq!(said.json()["metrics"]["rows"], 7);
    assert_eq!(here.read("r/run.json"), record);

    let said = here.run(&["--resume", "--run-dir", "r", "-i", "epochs=9"]).expect(2);
    assert!(said.err.contains("`epochs`: 3 before, 9 now"), "{}", said.err);
    std::fs::remove_file(here.path("r/probe.safetensors")).unwrap();
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    assert!(
        said.err.contains("its output cannot be written again\n  `weights`: the file `")
            && said.err.contains("probe.safetensors` has gone"),
        "{}",
        said.err
    );
    let said = here.run(&["--resume=force", "--run-dir", "r", "-i", "epochs=9"]).expect(0);
    assert!(said.err.contains("setup says"), "a changed input is trained: {}", said.err);
}

#[test]
fn another_trainers_folder_and_a_broken_record_are_refused() {
    let here = probe();
    here.file("other/run.json", r#"{"trainer": "Other"}"#);
    here.file("half/run.json", r#"{"trainer": "Pro"#);
    for (dir, expected) in [
        (
            "other",
            "error: the run cannot be resumed: `other` holds a run of `Other`, and this is `Probe`\n",
        ),
        ("half", "error: the run cannot be resumed: `half/run.json` is not whole: "),
    ] {
        let said = here.run(&["--resume", "--run-dir", dir]).expect(2);
        assert!(said.err.starts_with(expected), "{}", said.err);
    }
    here.file("early/run.json", r#"{"trainer": "Probe", "status": "running"}"#);
    let said = here.run(&["--resume", "--run-dir", "early", "-i", "epochs=2"]).expect(0);
    let sentence =
        "`early` was stopped before its inputs were recorded: the run starts at step 0\n";
    assert!(said.err.contains(sentence), "{}", said.err);
}

#[test]
fn one_process_trains_in_a_folder() {
    let here = probe();
    let (mut child, _err) = waiting(&here, &count(&["--run-dir", "r"]));
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    assert_eq!(said.err, "error: the run cannot be resumed: another process is training in `r`\n");
    // A process that dies gives the lock back, and leaves a run that says it is running.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(record(&here, "r")["status"], "running");
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(0);
    assert!(
        said.err.contains("`r` has no checkpoint yet: the run starts at step 0\n"),
        "{}",
        said.err
    );
    assert_eq!(here.read("r/log.txt").lines().count(), 5, "the killed process's lines are cut");
}

#[test]
fn a_trainer_that_looks_for_no_checkpoint_is_warned_of() {
    let here = probe();
    here.run(&["-i", "mode=fail", "--run-dir", "r"]).expect(1);
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(1);
    assert!(
        said.err.contains("warning: the trainer looks for no checkpoint: it started over\n"),
        "{}",
        said.err
    );
    assert_eq!(here.read("r/metrics.jsonl").lines().count(), 3);
}

#[test]
fn a_seed_that_is_no_input_is_compared_too() {
    let here = Place::new("hello_train");
    here.file("p.jsonl", "{\"x\": 1, \"y\": 2}\n{\"x\": 2, \"y\": 4}\n");
    here.run(&["-i", "points=p.jsonl", "--seed", "1", "--run-dir", "r"]).expect(0);
    let said = here.run(&["--resume", "--run-dir", "r", "--seed", "2"]).expect(2);
    assert!(said.err.contains("`--seed`: 1 before, 2 now"), "{}", said.err);
    here.run(&["--resume", "--run-dir", "r", "--seed", "1"]).expect(0);
}
