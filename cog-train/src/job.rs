//! What the author's methods are given: [`Setup`], the process, and [`Job`], one training or prediction.

mod records;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::error::Error;
use crate::input::Mask;
use crate::progress::{CancelToken, Report, Silent, json_number};
use crate::rng::Rng;
use crate::weights::Weights;

/// The process that a trainer or predictor is set up in.
#[derive(Debug)]
pub struct Setup {
    device: Device,
    weights: Option<Weights>,
    config: Config,
}

impl Setup {
    /// A process with this device, these weights and this `cog.yaml`.
    #[must_use]
    pub fn new(device: Device, weights: Option<Weights>, config: Config) -> Self {
        Self { device, weights, config }
    }

    /// On the CPU, without weights, with an empty `cog.yaml`: for a trainer's own tests.
    #[must_use]
    pub fn for_test() -> Self {
        Self::new(Device::Cpu, None, Config::default())
    }

    /// Where to compute.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What `COG_WEIGHTS` names, opened and checked.
    #[must_use]
    pub fn weights(&self) -> Option<&Weights> {
        self.weights.as_ref()
    }

    /// The project's `cog.yaml`.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// How [`Job::record`] joins a value with what the name already holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The new value stands.
    Replace,
    /// The numbers are added.
    Increment,
    /// The values form a list.
    Append,
}

/// One training or prediction: its folder, its device, its seed, and where its lines and numbers go.
pub struct Job {
    id: String,
    dir: PathBuf,
    device: Device,
    seed: u64,
    cancel: CancelToken,
    save: Arc<AtomicBool>,
    resume: Option<PathBuf>,
    report: Box<dyn Report>,
    mask: Mask,
    log: Option<File>,
    metrics: Option<File>,
    records: Map<String, Value>,
    /// The first write to `log.txt` or `metrics.jsonl` that failed.
    lost: Option<Error>,
}

/// What [`Job::start`] is made of.
pub(crate) struct Start {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) device: Device,
    pub(crate) seed: u64,
    pub(crate) cancel: CancelToken,
    pub(crate) save: Arc<AtomicBool>,
    pub(crate) report: Box<dyn Report>,
    /// What no line may show.
    pub(crate) mask: Mask,
    /// Whether to keep `log.txt` and `metrics.jsonl` in `dir`.
    pub(crate) keep_files: bool,
}

impl Job {
    pub(crate) fn start(start: Start) -> Result<Self, Error> {
        let Start { id, dir, device, seed, cancel, save, report, mask, keep_files } = start;
        let append = |name: &str| {
            let path = dir.join(name);
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(Error::file("create", &path))
        };
        let (log, metrics) = if keep_files {
            (Some(append("log.txt")?), Some(append("metrics.jsonl")?))
        } else {
            (None, None)
        };
        Ok(Self {
            id,
            dir,
            device,
            seed,
            cancel,
            save,
            resume: None,
            report,
            mask,
            log,
            metrics,
            records: Map::new(),
            lost: None,
        })
    }

    /// A job on the CPU with seed 0 whose run folder is `dir`, made if it is not there: for a trainer's own tests.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[must_use]
    pub fn for_test(dir: impl AsRef<Path>) -> Self {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).expect("the test's run folder can be made");
        Self::start(Start {
            id: "test".to_owned(),
            dir: dir.to_owned(),
            device: Device::Cpu,
            seed: 0,
            cancel: CancelToken::new(),
            save: Arc::default(),
            report: Box::new(Silent),
            mask: Mask::default(),
            keep_files: true,
        })
        .expect("the test's run folder can be written")
    }

    /// The run's name: the last part of its folder.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The run's own folder. What is written there stays.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where to compute.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The run's seed: an input named `seed` if it was given, else `--seed`, else drawn and recorded in `run.json`.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The random streams of this run for a purpose: `job.rng("init").at(0)`.
    #[must_use]
    pub fn rng(&self, purpose: &str) -> Rng {
        Rng::new(self.seed, purpose)
    }

    /// One line to the terminal, to `log.txt` and to the HTTP logs. The texts of secret inputs are masked.
    pub fn line(&mut self, text: impl Display) {
        let text = text.to_string();
        let text = self.mask.text(&text);
        self.report.line(&text);
        let written = self.log.as_mut().map_or(Ok(()), |log| writeln!(log, "{text}"));
        self.keep("log.txt", written);
    }

    /// A number at a step (counted from 1), to `metrics.jsonl` and to whoever shows numbers.
    ///
    /// A number that is not finite is written as `"NaN"`, `"Infinity"` or `"-Infinity"`, for JSON has no number for it.
    pub fn metric(&mut self, name: &str, step: u64, value: f64) {
        self.report.metric(name, step, value);
        let line = json!({"step": step, name: json_number(value)});
        let written = self.metrics.as_mut().map_or(Ok(()), |file| writeln!(file, "{line}"));
        self.keep("metrics.jsonl", written);
    }

    /// How far the run is, in steps. `total` is 0 while it is not known.
    pub fn progress(&mut self, done: u64, total: u64) {
        self.report.progress("steps", done, total);
    }

    /// Whether the run was asked to stop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// For a loop of one's own: `job.check_cancelled()?` ends it when the run was asked to stop.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn check_cancelled(&self) -> Result<(), Error> {
        self.cancel.check()
    }

    /// The flag behind [`Job::cancelled`], for threads.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Whether a checkpoint was asked for since the last call, by SIGUSR1 or over HTTP. Reading clears it.
    #[must_use]
    pub fn save_requested(&self) -> bool {
        self.save.swap(false, Ordering::SeqCst)
    }

    /// The checkpoint to go on from, when the run is resumed.
    #[must_use]
    pub fn resume_from(&self) -> Option<&Path> {
        self.resume.as_deref()
    }

    /// Puts a value into the `metrics` of the answer. Dots in the name nest; null deletes.
    ///
    /// A name of more than 128 characters or 4 segments, or one that is reserved (`predict_time`, `cog.*`), is named in
    /// a line and left out.
    pub fn record(&mut self, name: &str, value: impl Into<Value>, mode: Record) {
        if let Err(problem) = records::put(&mut self.records, name, value.into(), mode) {
            self.line(format_args!("warning: the record `{name}` {problem} and is left out"));
        }
    }

    /// What [`Job::record`] has gathered.
    pub(crate) fn records(&self) -> &Map<String, Value> {
        &self.records
    }

    /// The first line or number that could not be kept.
    pub(crate) fn take_lost(&mut self) -> Option<Error> {
        self.lost.take()
    }

    fn keep(&mut self, file: &str, written: std::io::Result<()>) {
        if let Err(error) = written
            && self.lost.is_none()
        {
            self.lost = Some(Error::file("write", &self.dir.join(file))(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_nest_add_append_and_delete() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        job.record("loss", 1.5, Record::Replace);
        job.record("loss", 0.5, Record::Replace);
        job.record("tokens", 3, Record::Increment);
        job.record("tokens", 4, Record::Increment);
        job.record("eval.loss", 2.0, Record::Append);
        job.record("eval.loss", 1.0, Record::Append);
        job.record("gone", 1, Record::Replace);
        job.record("gone", Value::Null, Record::Replace);
        assert_eq!(
            Value::Object(job.records().clone()),
            json!({"loss": 0.5, "tokens": 7, "eval": {"loss": [2.0, 1.0]}})
        );
    }

    #[test]
    fn bad_records_are_named_and_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        job.record("text", "a", Record::Replace);
        for name in ["predict_time", "cog.x", "a.b.c.d.e", "a..b", "text.inner", &"x".repeat(129)] {
            job.record(name, 1, Record::Replace);
        }
        job.record("text", 1, Record::Increment);
        assert_eq!(Value::Object(job.records().clone()), json!({"text": "a"}));
        let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
        assert_eq!(log.lines().count(), 7, "{log}");
        assert!(log.contains("the record `cog.x` is reserved"), "{log}");
    }

    #[test]
    fn metrics_are_one_object_a_line_and_never_invalid_json() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        job.metric("loss", 1, 2.5);
        job.metric("loss", 2, f64::NAN);
        job.metric("loss", 3, f64::NEG_INFINITY);
        let text = std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                json!({"step": 1, "loss": 2.5}),
                json!({"step": 2, "loss": "NaN"}),
                json!({"step": 3, "loss": "-Infinity"})
            ]
        );
    }
}
