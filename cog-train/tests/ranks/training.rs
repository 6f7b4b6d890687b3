//! A training by `fit` leaves the same on any number of ranks.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{LIMIT, Sandbox};

/// The result of a training by `fit`: its weights, its log, and its metrics but for those of the clock.
#[derive(Debug, PartialEq)]
pub(crate) struct Left {
    weights: Vec<u8>,
    log: String,
    metrics: String,
}

pub(crate) const FIT: &[&str] =
    &["-i", "steps=30", "--run-dir", "runs/fit", "-o", "trained.safetensors"];

pub(crate) fn fit(here: &Sandbox, ranks: usize, args: &[&str]) -> Left {
    let said = Sandbox::ended(here.command_of("tiny_fit", ranks, &[FIT, args].concat()));
    assert_eq!(said.code, Some(0), "{ranks} ranks: {}", said.err);
    let run = here.path().join("runs/fit");
    let text = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    let metrics = text("metrics.jsonl");
    let metrics = metrics.lines().filter(|line| !line.contains("\"time/")).collect::<Vec<_>>();
    Left {
        weights: std::fs::read(here.path().join("trained.safetensors")).unwrap(),
        log: text("log.txt"),
        metrics: metrics.join("\n"),
    }
}

#[test]
fn a_training_leaves_the_same_bytes_on_1_2_and_4_ranks() {
    let on = |ranks| fit(&Sandbox::new(), ranks, &[]);
    let alone = on(1);
    assert!(alone.metrics.lines().count() >= 30, "{}", alone.metrics);
    assert_eq!(on(2), alone);
    assert_eq!(on(4), alone);
}

#[test]
fn a_run_stopped_on_4_ranks_resumes_on_1_and_2() {
    let straight = fit(&Sandbox::new(), 1, &["-i", "pause=30"]);
    let here = Sandbox::new();
    let mut command = here.command_of("tiny_fit", 4, &[FIT, &["-i", "pause=30"]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (run, began) = (here.path().join("runs/fit"), Instant::now());
    let steps =
        || std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |it| it.lines().count());
    while steps() < 8 {
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < LIMIT, "no 8 steps");
        std::thread::sleep(Duration::from_millis(5));
    }
    // A signal to one rank stops all of them.
    let ranks =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let last = ranks.split_whitespace().next_back().and_then(|it| it.parse().ok()).unwrap();
    let pid = rustix::process::Pid::from_raw(last).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let err = child.wait_with_output().unwrap().stderr;
    assert!(!here.path().join("trained.safetensors").exists(), "{}", String::from_utf8_lossy(&err));
    for ranks in [1, 2] {
        let there = Sandbox::new();
        let copied =
            Command::new("cp").arg("-r").arg(here.path().join("runs")).arg(there.path()).status();
        assert!(copied.unwrap().success());
        let resumed = fit(&there, ranks, &["-i", "pause=30", "--resume"]);
        assert_eq!(resumed, straight, "{ranks} ranks");
    }
}
