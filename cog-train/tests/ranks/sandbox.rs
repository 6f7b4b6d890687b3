//! A folder that ranks run in, and what they leave there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The processes of these tests share few cores, and the tests' machine runs them as root in a container.
const MPIRUN: &[&str] = &["--oversubscribe", "--allow-run-as-root", "--bind-to", "none"];

/// The time in which all ranks end when one has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

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

pub(crate) fn mpirun(ranks: usize, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(MPIRUN).args(["-n", &ranks.to_string()]).arg(example(program)).args(args);
    command.env("RAYON_NUM_THREADS", "1").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

/// A folder that a training runs in, with a folder of its own for temporary files.
pub(crate) struct Sandbox(tempfile::TempDir);

pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, ranks: usize, args: &[&str]) -> Command {
        self.command_of("ranks", ranks, args)
    }

    pub(crate) fn command_of(&self, program: &str, ranks: usize, args: &[&str]) -> Command {
        let mut command = mpirun(ranks, program, args);
        command.current_dir(self.path()).env("TMPDIR", self.path().join("tmp"));
        command
    }

    pub(crate) fn train(&self, ranks: usize, args: &[&str]) -> Said {
        Self::ended(self.command(ranks, args))
    }

    pub(crate) fn ended(mut command: Command) -> Said {
        let began = Instant::now();
        let Output { status, stdout, stderr } = command.output().expect("`mpirun` is installed");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: status.code(), out: text(stdout), err: text(stderr), took: began.elapsed() }
    }

    /// `run.json` of the only run.
    pub(crate) fn record(&self) -> Value {
        let runs: Vec<_> = std::fs::read_dir(self.path().join("runs")).unwrap().collect();
        assert_eq!(runs.len(), 1, "rank 0 alone has a folder in `runs`");
        let text = std::fs::read(runs[0].as_ref().unwrap().path().join("run.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The status of the run in a folder.
    pub(crate) fn status(&self, run: &str) -> Value {
        let text = std::fs::read(self.path().join(run).join("run.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["status"].clone()
    }

    /// The folders of a training that are left beside those of `mpirun`.
    pub(crate) fn scratch(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join("tmp")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".cog-train-run-")).collect()
    }
}

impl Said {
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
    }

    /// Checks that all ranks have ended in time, and that the errors are these.
    pub(crate) fn fails_with(&self, code: i32, errors: &[&str]) -> &Self {
        assert_eq!(self.errors(), errors, "{}", self.err);
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.took < LIMIT, "{:?}", self.took);
        self
    }
}

/// Waits until a line is in the log of the run.
pub(crate) fn await_log(here: &Sandbox, line: &str, child: &mut Child) {
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
