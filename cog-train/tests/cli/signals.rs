//! Signals: the first cancels a run, the second ends the process.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::probe;
use crate::sandbox::{Outcome, Sandbox};

/// Starts the probe, waits until it waits, sends signals, and gives what it said and how long it took from the first.
fn signalled(here: &Sandbox, mode: &str, signals: &[&str]) -> (Outcome, Duration) {
    let mut child = here
        .command(&["-i", &format!("mode={mode}"), "--run-dir", mode])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut err = String::new();
    let mut until = |word: &str| {
        for line in lines.by_ref().map_while(Result::ok) {
            err.push_str(&line);
            err.push('\n');
            if line.contains(word) {
                return;
            }
        }
    };
    until("waiting");
    let start = Instant::now();
    for (index, signal) in signals.iter().enumerate() {
        if index > 0 {
            until("again to quit now");
        }
        let sent = std::process::Command::new("kill")
            .args([signal.to_string(), child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
    until("\u{0}");
    let output = child.wait_with_output().unwrap();
    let took = start.elapsed();
    let said =
        Outcome { code: output.status.code(), out: String::from_utf8(output.stdout).unwrap(), err };
    (said, took)
}

#[test]
fn a_signal_ends_a_run_cleanly_with_130() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let here = probe();
        here.run(&["--run-dir", "good"]).expect(0);
        let weights = here.read("weights/output.json");
        let (said, took) = signalled(&here, "wait", &[signal]);
        let said = said.expect(130);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(said.err.contains("error: cancelled\n"), "{}", said.err);
        assert_eq!(said.out, "");
        assert_eq!(here.read("weights/output.json"), weights);
        let run: Value = serde_json::from_str(&here.read("wait/run.json")).unwrap();
        assert_eq!(run["status"], "canceled");
    }
}

#[test]
fn a_second_signal_ends_a_run_that_does_not_listen() {
    let here = probe();
    let (said, took) = signalled(&here, "deaf", &["-INT", "-INT"]);
    said.expect(130);
    let run: Value = serde_json::from_str(&here.read("deaf/run.json")).unwrap();
    assert_eq!(run["status"], "canceled");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_signal_that_the_parent_ignored_stays_ignored() {
    let here = probe();
    let script = format!(
        "trap '' HUP; '{}' -i mode=wait --run-dir r & pid=$!; \
         while ! grep -qs waiting r/log.txt; do sleep 0.01; done; \
         kill -HUP $pid; sleep 0.3; kill -0 $pid && echo alive; kill -TERM $pid; wait $pid; echo $?",
        here.program().display()
    );
    let mut command = std::process::Command::new("sh");
    let said: Outcome = command
        .args(["-c", &script])
        .env_remove("RUST_BACKTRACE")
        .current_dir(here.dir.path())
        .output()
        .unwrap()
        .into();
    assert_eq!(said.out, "alive\n130\n", "{}", said.err);
}
