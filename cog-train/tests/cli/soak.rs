//! A process that is killed at random moments, again and again, ends with the bytes of one that was not.

#![expect(clippy::print_stderr, reason = "what was counted and measured, under `--nocapture`")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cog_train::rng::Rng;
use serde_json::Value;

use crate::sandbox::Sandbox;

/// The number of kills, unless the variable `COG_TRAIN_SOAK` says another number.
const KILLS: u64 = 20;

/// All that a run leaves, but for what the clock decides.
#[derive(PartialEq)]
pub(crate) struct Left {
    files: BTreeMap<String, Vec<u8>>,
    metrics: String,
    state: Value,
}

pub(crate) fn left(dir: &Path) -> Left {
    let read =
        |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut files = BTreeMap::new();
    for name in ["weights.safetensors", "log.txt"] {
        files.insert(name.to_owned(), read(&dir.join(name)));
    }
    let mut names: Vec<String> = fs::read_dir(dir.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.iter().all(|name| name.starts_with("step-")), "nothing hidden stays: {names:?}");
    let last = dir.join("checkpoints").join(names.last().unwrap());
    for name in ["weights", "optimizer", "ema"] {
        let name = format!("{name}.safetensors");
        files.insert(format!("last checkpoint/{name}"), read(&last.join(name)));
    }
    let manifest: Value = serde_json::from_slice(&read(&last.join("manifest.json"))).unwrap();
    let metrics = String::from_utf8(read(&dir.join("metrics.jsonl"))).unwrap();
    let metrics: Vec<&str> = metrics.lines().filter(|line| !line.contains("\"time/")).collect();
    Left { files, metrics: metrics.join("\n"), state: manifest["state"]["state"].clone() }
}

#[track_caller]
pub(crate) fn assert_same(one: &Left, two: &Left, what: &str) {
    assert_eq!(one.metrics, two.metrics, "{what}");
    assert_eq!(one.state, two.state, "{what}");
    for (name, bytes) in &one.files {
        assert!(*bytes == two.files[name], "{what}: `{name}` differs");
    }
}

/// The work of a run when it was killed, by what it left among its checkpoints.
#[derive(Default)]
struct Met {
    before: u64,
    during: u64,
    between: u64,
}

impl Met {
    fn count(&mut self, dir: &Path) {
        let names: Vec<String> = fs::read_dir(dir.join("checkpoints"))
            .map(|entries| {
                entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
            })
            .unwrap_or_default();
        // Hidden names are those of a checkpoint that is staged, replaced or deleted at the moment.
        if names.iter().any(|name| name.starts_with('.')) {
            self.during += 1;
        } else if names.is_empty() {
            self.before += 1;
        } else {
            self.between += 1;
        }
    }
}

/// A run without a stop: what it leaves, and how long it took.
fn straight(here: &Sandbox) -> (Left, Duration) {
    let start = Instant::now();
    here.run(&["--run-dir", "straight", "-o", "straight.safetensors"]).expect(0);
    (left(&here.path("straight")), start.elapsed())
}

#[test]
fn killed_at_random_moments_a_run_ends_with_the_same_bytes() {
    let kills: u64 = std::env::var("COG_TRAIN_SOAK").map_or(KILLS, |text| text.parse().unwrap());
    let here = Sandbox::new("tiny_fit");
    let (straight, whole) = straight(&here);
    let mut moments = Rng::new(kills, "kills").at(0);
    let mut met = Met::default();
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        let name = format!("run-{runs}");
        let dir = here.path(&name);
        loop {
            let args = ["--resume", "--run-dir", &name, "-o", "out.safetensors"];
            let mut command = here.command(&args);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            // A third of the time that a whole run takes: a run is killed some five times before it ends.
            std::thread::sleep(whole.mul_f64(moments.uniform() / 3.0));
            if killed < kills && child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                met.count(&dir);
                continue;
            }
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "after {killed} kills: {text}");
            break;
        }
        assert_same(&left(&dir), &straight, &format!("{name}, after {killed} kills"));
        runs += 1;
    }
    assert_eq!(met.before + met.during + met.between, kills);
    eprintln!(
        "killed before the first checkpoint        {:>4}\n\
         killed while a checkpoint was written     {:>4}\n\
         killed between two, or behind the last    {:>4}\n\
         runs that ended with the straight bytes   {runs:>4}",
        met.before, met.during, met.between
    );
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let here = Sandbox::new("tiny_fit");
    let run = |threads: &str| {
        let dir = format!("threads-{threads}");
        let args = ["--run-dir", &dir, "-o", "out.safetensors", "-i", "steps=30", "-i", "pause=0"];
        let mut command = here.command(&args);
        let said = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        left(&here.path(&dir))
    };
    let one = run("1");
    for threads in ["2", "4"] {
        assert_same(&run(threads), &one, &format!("{threads} threads"));
    }
}

#[test]
fn convolutions_under_any_number_of_threads_give_the_same_bytes() {
    let here = Sandbox::new("image_classifier");
    let run = |threads: &str| {
        let mut command = here.command(&["--run-dir", threads, "-o", "out/", "-i", "epochs=1"]);
        let said = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        left_weights(&here.path(threads))
    };
    let one = run("1");
    assert!(run("2") == one && run("4") == one);
}

fn left_weights(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("weights.safetensors")).unwrap()
}

/// Starts a training, sends it a signal once `file` is there, and gives the exit code and the time that it took to end.
fn signalled(here: &Sandbox, args: &[&str], signal: &str, file: &str) -> (Option<i32>, Duration) {
    let mut command = here.command(args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !here.path(file).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before `{file}` was there");
        std::thread::sleep(Duration::from_millis(2));
    }
    let start = Instant::now();
    assert!(
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success()
    );
    (child.wait().unwrap().code(), start.elapsed())
}

#[test]
fn a_cancelled_run_saves_and_exits_with_130() {
    let here = Sandbox::new("tiny_fit");
    let (straight, _) = straight(&here);
    for signal in ["-TERM", "-INT", "-HUP"] {
        let dir = format!("run{signal}");
        let args = ["--run-dir", &dir, "-o", "out.safetensors"];
        let file = format!("{dir}/checkpoints/step-000006");
        let (code, took) = signalled(&here, &args, signal, &file);
        eprintln!("{signal}: {} ms", took.as_millis());
        assert_eq!(code, Some(130), "{signal}");
        // Far more than the second it should be, for a machine that does ten other things.
        assert!(took < Duration::from_secs(10), "{signal}: {took:?}");
        here.run(&["--resume", "--run-dir", &dir, "-o", "out.safetensors"]).expect(0);
        assert_same(&left(&here.path(&dir)), &straight, signal);
    }
}

#[test]
fn a_requested_checkpoint_does_not_stop_the_run() {
    let here = Sandbox::new("tiny_fit");
    let args = ["--run-dir", "run", "-o", "out.safetensors", "-i", "pause=5"];
    let mut command = here.command(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !here.path("run/checkpoints/step-000003").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-USR1", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("saved on request").count(), 1, "{text}");
    assert!(!here.read("run/log.txt").contains("on request"), "the log is that of any run");
}
