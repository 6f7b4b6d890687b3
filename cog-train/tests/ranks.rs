//! Ranks under `mpirun`: the operations between them, and a training from its start to its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The processes of these tests share few cores, and the tests' machine runs them as root in a container.
const MPIRUN: &[&str] = &["--oversubscribe", "--allow-run-as-root", "--bind-to", "none"];

/// The time in which all ranks end when one has failed.
const LIMIT: Duration = Duration::from_secs(30);

fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(
        path.is_file(),
        "`{}` is missing: run `cargo build -p cog-train --features mpi --example {name}`",
        path.display()
    );
    path
}

fn mpirun(ranks: usize, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(MPIRUN).args(["-n", &ranks.to_string()]).arg(example(program)).args(args);
    command.env("RAYON_NUM_THREADS", "1").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

/// A folder that a training runs in, with a folder of its own for temporary files.
struct Sandbox(tempfile::TempDir);

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, ranks: usize, args: &[&str]) -> Command {
        self.command_of("ranks", ranks, args)
    }

    fn command_of(&self, program: &str, ranks: usize, args: &[&str]) -> Command {
        let mut command = mpirun(ranks, program, args);
        command.current_dir(self.path()).env("TMPDIR", self.path().join("tmp"));
        command
    }

    fn train(&self, ranks: usize, args: &[&str]) -> Said {
        Self::ended(self.command(ranks, args))
    }

    fn ended(mut command: Command) -> Said {
        let began = Instant::now();
        let Output { status, stdout, stderr } = command.output().expect("`mpirun` is installed");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: status.code(), out: text(stdout), err: text(stderr), took: began.elapsed() }
    }

    /// `run.json` of the only run.
    fn record(&self) -> Value {
        let runs: Vec<_> = std::fs::read_dir(self.path().join("runs")).unwrap().collect();
        assert_eq!(runs.len(), 1, "rank 0 alone has a folder in `runs`");
        let text = std::fs::read(runs[0].as_ref().unwrap().path().join("run.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The folders of a training that are left beside those of `mpirun`.
    fn scratch(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join("tmp")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".cog-train-run-")).collect()
    }
}

impl Said {
    fn errors(&self) -> Vec<&str> {
        self.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
    }

    /// Checks that all ranks have ended in time, and that the errors are these.
    fn fails_with(&self, code: i32, errors: &[&str]) -> &Self {
        assert_eq!(self.errors(), errors, "{}", self.err);
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.took < LIMIT, "{:?}", self.took);
        self
    }
}

#[test]
fn operations_keep_their_laws_for_1_2_and_4_ranks() {
    // Whole tensors in one message, and each in many.
    for (ranks, message) in [(1, "64"), (2, "1073741824"), (2, "16"), (4, "64")] {
        let said = Sandbox::ended(mpirun(ranks, "mpi_laws", &[message]));
        assert_eq!(said.code, Some(0), "{ranks} ranks: {}", said.err);
    }
}

#[test]
fn rank_0_alone_prints_and_writes() {
    let here = Sandbox::new();
    let said = here.train(2, &["-o", "sum.json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out, "trained: sum.json\n");
    assert_eq!(std::fs::read_to_string(here.path().join("sum.json")).unwrap().trim(), "3");
    assert_eq!(said.err.matches("rank 0 of 2").count(), 1, "{}", said.err);
    assert!(!said.err.contains("rank 1 of 2"), "{}", said.err);
    assert_eq!(here.record()["status"], "succeeded");
    assert_eq!(here.scratch(), [""; 0], "the folders of other ranks are removed");
}

#[test]
fn each_rank_reads_the_inputs() {
    let here = Sandbox::new();
    std::fs::write(here.path().join("data.txt"), "12345").unwrap();
    let said = here.train(4, &["-i", "data=@data.txt", "-o", "-"]);
    assert_eq!((said.code, said.out.trim()), (Some(0), "30"), "{}", said.err);
}

#[test]
fn a_dry_run_has_one_seed_on_all_ranks() {
    let here = Sandbox::new();
    let said = here.train(2, &["--dry-run"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out.matches("seed").count(), 1, "{}", said.out);
    assert_eq!(here.scratch(), [""; 0]);
}

#[test]
fn an_error_that_all_ranks_make_is_printed_once() {
    let here = Sandbox::new();
    here.train(2, &["-i", "mode=all_fail"]).fails_with(1, &["the disk is full"]);
    assert_eq!(here.record()["status"], "failed");
    let here = Sandbox::new();
    let said = here.train(2, &["-i", "mode=dance"]);
    said.fails_with(2, &["1 input is not valid"]);
    assert!(!here.path().join("runs").exists());
}

#[test]
fn a_failure_is_answered_as_json_by_rank_0_alone() {
    let here = Sandbox::new();
    let said = here.train(2, &["--format", "json", "-i", "mode=all_fail"]);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["status"], "failed");
    assert_eq!(answer["error"], "the disk is full");
    assert_eq!(said.code, Some(1), "{}", said.err);
}

#[test]
fn the_error_of_one_rank_ends_all_with_its_rank() {
    for (args, error) in [
        (&["-i", "mode=fail", "-i", "rank=1"][..], "rank 1: the disk of this rank is full"),
        (&["-i", "mode=fail", "-i", "rank=0"], "rank 0: the disk of this rank is full"),
        (&["-i", "mode=late"], "rank 1: its work after the training failed"),
    ] {
        let here = Sandbox::new();
        here.train(4, args).fails_with(1, &[error]);
    }
}

#[test]
fn a_panic_of_one_rank_ends_all() {
    let here = Sandbox::new();
    let said = here.train(2, &["-i", "mode=panic"]);
    let [error] = said.errors()[..] else { panic!("{}", said.err) };
    assert!(error.starts_with("rank 1: `train` panicked at "), "{error}");
    assert!(error.ends_with("set to panic") && said.took < LIMIT, "{error}");
}

#[test]
fn a_rank_that_dies_ends_all() {
    let here = Sandbox::new();
    let said = here.train(2, &["-i", "mode=die"]);
    assert!(said.code != Some(0) && said.took < LIMIT, "{:?} {}", said.code, said.err);
    assert!(said.err.contains("exited on signal 6"), "{}", said.err);
}

#[test]
fn a_rank_that_hangs_ends_all_after_the_longest_wait() {
    let here = Sandbox::new();
    let mut command = here.command(4, &["-i", "mode=hang", "-i", "rank=2"]);
    command.env("COG_TRAIN_RANKS_TIMEOUT", "2");
    let said = Sandbox::ended(command);
    said.fails_with(1, &["rank 2: the others have waited for it too long"]);
}

/// Waits until a line is in the log of the run.
fn await_log(here: &Sandbox, line: &str, child: &mut Child) {
    let began = Instant::now();
    let log = || {
        let run = std::fs::read_dir(here.path().join("runs")).ok()?.next()?.ok()?.path();
        std::fs::read_to_string(run.join("log.txt")).ok()
    };
    while !log().is_some_and(|log| log.contains(line)) {
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < LIMIT, "no `{line}`");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_to_the_launcher_stops_all_ranks_after_the_same_step() {
    let here = Sandbox::new();
    let mut command = here.command(2, &["-i", "mode=wait"]);
    // The seconds after which OpenMPI hands the signal on, and after which it kills the ranks.
    command.env("OMPI_MCA_odls_base_sigkill_timeout", "4");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    await_log(&here, "rank 0 of 2", &mut child);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let began = Instant::now();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && began.elapsed() < LIMIT, "{status} {err}");
    assert_eq!(here.record()["status"], "canceled", "{err}");
    assert_eq!(err.matches("stopped at step").count(), 1, "{err}");
    assert_eq!(here.scratch(), [""; 0]);
}

#[test]
fn contradictory_variables_end_before_anything_is_written() {
    let here = Sandbox::new();
    let mut command = here.command(2, &[]);
    let said = Sandbox::ended({
        command.env("RANK", "5").env("WORLD_SIZE", "8");
        command
    });
    assert!(said.err.contains("error: `OMPI_COMM_WORLD_RANK` is "), "{}", said.err);
    assert!(said.err.contains(", and `RANK` is 5\nhint: "), "{}", said.err);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(!here.path().join("runs").exists());
}

/// The result of a training by `fit`: its weights, its log, and its metrics but for those of the clock.
#[derive(Debug, PartialEq)]
struct Left {
    weights: Vec<u8>,
    log: String,
    metrics: String,
}

const FIT: &[&str] = &["-i", "steps=30", "--run-dir", "runs/fit", "-o", "trained.safetensors"];

fn fit(here: &Sandbox, ranks: usize, args: &[&str]) -> Left {
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
