//! `--resume`: the runs that it resumes, those that it refuses, and that nothing is trained twice.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::sandbox::{Outcome, Sandbox};

const TOKEN: &str = "canary-91ab";

fn probe() -> Sandbox {
    Sandbox::new("probe")
}

fn record(here: &Sandbox, dir: &str) -> Value {
    serde_json::from_str(&here.read(&format!("{dir}/run.json"))).unwrap()
}

/// Starts the probe and waits until it waits.
fn waiting(here: &Sandbox, args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
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
fn interrupted(here: &Sandbox, args: &[&str], signal: &str) -> Outcome {
    let (child, mut err) = waiting(here, args);
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut err, &mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: text,
    }
}

const COUNT: [&str; 4] = ["-i", "mode=resume", "-i", "epochs=5"];

fn count<'a>(more: &[&'a str]) -> Vec<&'a str> {
    COUNT.iter().chain(more).copied().collect()
}

#[test]
fn resume_equals_straight_run() {
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
fn without_a_run_dir_the_newest_run_of_the_trainer_is_resumed() {
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
fn a_fetched_file_is_reused_and_without_it_the_address_is_required() {
    let here = probe();
    let address = "data=data:text/plain;base64,aGVsbG8=";
    interrupted(&here, &count(&["-i", address, "--run-dir", "r"]), "-INT").expect(130);
    std::fs::rename(here.path("r"), here.path("moved")).unwrap();
    let said = here.run(&["--resume", "--run-dir", "moved", "-o", "one"]).expect(0);
    assert!(said.out.contains("bytes 5)"), "{}", said.out);

    interrupted(&here, &count(&["-i", address, "--run-dir", "r"]), "-INT").expect(130);
    std::fs::remove_dir_all(here.path("r/inputs")).unwrap();
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    assert!(said.err.contains("the file of the input `data` is not there, and its address `data:text/plain,...` was recorded in part"), "{}", said.err);
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
    let here = Sandbox::new("hello_train");
    here.file("p.jsonl", "{\"x\": 1, \"y\": 2}\n{\"x\": 2, \"y\": 4}\n");
    here.run(&["-i", "points=p.jsonl", "--seed", "1", "--run-dir", "r"]).expect(0);
    let said = here.run(&["--resume", "--run-dir", "r", "--seed", "2"]).expect(2);
    assert!(said.err.contains("`--seed`: 1 before, 2 now"), "{}", said.err);
    here.run(&["--resume", "--run-dir", "r", "--seed", "1"]).expect(0);
}

/// Answers each request with the query of its path, after the first one with less than it promises.
fn versions(interrupted: bool) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let body =
                line.split(' ').nth(1).and_then(|it| it.split_once('?')).map_or("none", |it| it.1);
            let length = if interrupted { 1000 } else { body.len() };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"1\"\r\n\r\n{body}");
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            if interrupted {
                std::thread::sleep(std::time::Duration::from_mins(1));
            }
        }
    });
    address
}

/// Starts the probe on an address and kills it during the download.
fn killed_during_download(here: &Sandbox, data: &str) {
    let args = count(&["-i", data, "--run-dir", "r"]);
    let mut command = here.command(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !here.path("r/inputs").is_dir() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_address_that_was_recorded_in_part_is_not_fetched_again() {
    let here = probe();
    let host = versions(true);
    let data = format!("data=http://{host}/ver.jsonl?v=2&token={TOKEN}");
    killed_during_download(&here, &data);
    assert!(!here.read("r/run.json").contains(TOKEN));
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(2);
    let expected = format!(
        "error: the run cannot be resumed: the file of the input `data` is not there, and its address \
         `http://{host}/ver.jsonl?...` was recorded in part\nhint: give it again with `-i data=ADDRESS`\n"
    );
    assert!(said.err.ends_with(&expected), "{}", said.err);
    let other = versions(false);
    let data = format!("data=http://{other}/ver.jsonl?v=2");
    let said = here.run(&["--resume", "--run-dir", "r", "-i", &data]).expect(2);
    let changed = format!(
        "`data`: \"http://{host}/ver.jsonl?...\" before, \"http://{other}/ver.jsonl?...\" now"
    );
    assert!(said.err.contains(&changed), "{}", said.err);
}

#[test]
fn a_digest_of_an_address_is_recorded_and_holds_for_a_resumed_run() {
    let here = probe();
    // printf v=1 | sha256sum
    let digest = "a798de8ee75aeb5519c5266239190385c84b21ae031ff12cbebfed7cd2c84fde";
    let host = versions(true);
    killed_during_download(&here, &format!("data=http://{host}/ver.jsonl#sha256={digest}"));
    let value = record(&here, "r")["inputs"]["data"]["value"].clone();
    assert_eq!(value, format!("http://{host}/ver.jsonl#sha256={digest}"));
    // Another file is at the address by now.
    let good = versions(false);
    let text = here.read("r/run.json").replace(&host, &good);
    here.file("r/run.json", text);
    let said = here.run(&["--resume", "--run-dir", "r"]).expect(1);
    assert!(said.err.contains("SHA-256") && said.err.contains(digest), "{}", said.err);
}

#[test]
fn a_trainer_that_fails_before_it_looks_for_a_checkpoint_is_not_said_to_start_over() {
    let here = probe();
    interrupted(&here, &count(&["--run-dir", "r"]), "-INT").expect(130);
    let args = ["--resume", "--run-dir", "r", "-e", "PROBE_FAILS_EARLY=1"];
    let said = here.run(&args).expect(1);
    assert!(said.err.contains("error: failed early"), "{}", said.err);
    assert!(!said.err.contains("started over"), "{}", said.err);
}

#[test]
fn checkpoints_without_the_record_of_their_run_are_neither_resumed_nor_replaced() {
    let here = probe();
    here.file("r/checkpoints/step-000001/state.json", "mine");
    for call in [&["--run-dir", "r"][..], &["--run-dir", "r", "--resume"]] {
        let said = here.run(call).expect(2);
        assert_eq!(
            said.err,
            "error: `--run-dir r` holds the checkpoints of a run, and no `run.json`\n\
             hint: put `run.json` back to resume the run; name another folder for a new run\n"
        );
    }
    assert_eq!(here.read("r/checkpoints/step-000001/state.json"), "mine");
}
