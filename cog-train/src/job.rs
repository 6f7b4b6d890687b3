//! What the author's methods are given: [`Setup`], the process, and [`Job`], one training or prediction.

mod events;
mod files;
mod records;
mod setup;

use std::cell::Cell;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use serde_json::{Map, Value};

use self::files::Files;
use crate::error::Error;
use crate::input::Mask;
use crate::progress::{CancelToken, Report, Silent, json_number};
use crate::rng::Rng;

pub(crate) use self::files::Marks;
pub use self::setup::Setup;

/// Where checkpoints lie in a run's folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

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
    mode: Mode,
    resume_read: Cell<bool>,
    /// Whether a plan was asked for and the author's own loop was ended for it.
    was_cut: bool,
    report: Box<dyn Report>,
    mask: Mask,
    files: Option<Files>,
    records: Map<String, Value>,
}

/// How a run begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mode {
    /// The `checkpoints` folder of the run that is gone on with, if it has one.
    pub(crate) resume: Option<PathBuf>,
    /// `--resume=force`: a plan that differs from the checkpoint's is taken.
    pub(crate) forced: bool,
    /// `--plan`: say what would be done, and do nothing.
    pub(crate) plan: bool,
}

/// The payload that ends an author's own loop when only a plan was asked for. It is thrown without a panic's message.
pub(crate) struct PlanOnly;

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
    /// Whether to keep `log.txt`, `metrics.jsonl` and events in `dir`.
    pub(crate) keep_files: bool,
    pub(crate) mode: Mode,
}

impl Job {
    pub(crate) fn start(start: Start) -> Result<Self, Error> {
        let Start { id, dir, device, seed, cancel, save, report, mask, keep_files, mode } = start;
        let files = if keep_files { Some(Files::open(&dir)?) } else { None };
        Ok(Self {
            id,
            dir,
            device,
            seed,
            cancel,
            save,
            mode,
            resume_read: Cell::new(false),
            was_cut: false,
            report,
            mask,
            files,
            records: Map::new(),
        })
    }

    /// A job on the CPU with seed 0 whose run folder is `dir`, made if it is not there: for a trainer's own tests.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[must_use]
    pub fn for_test(dir: impl AsRef<Path>) -> Self {
        Self::in_test(dir.as_ref(), Mode::default())
    }

    /// The same folder opened again, resumed from its `checkpoints`.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[doc(hidden)]
    #[must_use]
    pub fn for_test_resumed(dir: impl AsRef<Path>) -> Self {
        let dir = dir.as_ref();
        Self::in_test(dir, Mode { resume: Some(dir.join(CHECKPOINTS)), ..Mode::default() })
    }

    fn in_test(dir: &Path, mode: Mode) -> Self {
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
            mode,
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
        if let Some(files) = &mut self.files {
            files.line(&text);
        }
    }

    /// One line to the terminal only: what differs between a straight and a resumed run stays out of `log.txt`.
    pub(crate) fn note(&mut self, text: impl Display) {
        let text = text.to_string();
        self.report.note(&self.mask.text(&text));
    }

    /// A number at a step (counted from 1), to `metrics.jsonl`, to the events that `TensorBoard` reads, and to whoever
    /// shows numbers.
    ///
    /// A number that is not finite is written as `"NaN"`, `"Infinity"` or `"-Infinity"`, for JSON has no number for it.
    pub fn metric(&mut self, name: &str, step: u64, value: f64) {
        self.stop_for_plan();
        self.report.metric(name, step, value);
        if let Some(files) = &mut self.files {
            files.numbers(step, &Map::from_iter([(name.to_owned(), json_number(value))]));
        }
    }

    /// All numbers of a step in one line of `metrics.jsonl`: `{"step":N, ...values}`. Each number goes where
    /// [`Job::metric`] sends it; the texts of [`json_number`] are numbers too.
    pub(crate) fn step(&mut self, step: u64, values: &Map<String, Value>) {
        self.stop_for_plan();
        self.report.step(step, values);
        if let Some(files) = &mut self.files {
            files.numbers(step, values);
        }
    }

    /// How far the run is, in steps. `total` is 0 while it is not known.
    pub fn progress(&mut self, done: u64, total: u64) {
        self.stop_for_plan();
        self.report.progress("steps", done, total);
    }

    /// Ends a loop of the author's own when only a plan was asked for: it would train.
    fn stop_for_plan(&mut self) {
        if self.mode.plan {
            self.was_cut = true;
            std::panic::resume_unwind(Box::new(PlanOnly));
        }
    }

    /// The lengths of the run's files, flushed and synced: what a checkpoint promises.
    pub(crate) fn marks(&mut self) -> Result<Marks, Error> {
        self.files.as_mut().map_or_else(|| Ok(Marks::default()), Files::marks)
    }

    /// Takes back what earlier processes wrote into the run's files, for the run starts over.
    pub(crate) fn forget_earlier(&mut self) -> Result<(), Error> {
        self.files.as_mut().map_or(Ok(()), Files::forget_earlier)
    }

    /// Takes back what the run's files got after a checkpoint.
    ///
    /// # Errors
    ///
    /// When a file is shorter than it was then.
    pub(crate) fn rewind(&mut self, marks: &Marks) -> Result<(), Error> {
        self.files.as_mut().map_or(Ok(()), |files| files.rewind(marks))
    }

    /// Whether the run was asked to stop: by Ctrl-C, SIGTERM or SIGHUP, or by whoever holds its token.
    ///
    /// A loop of one's own asks between steps. It saves what a later [`Job::resume_from`] is to find, and then ends by
    /// [`Job::check_cancelled`]; a second Ctrl-C does not wait for it.
    ///
    /// ```
    /// # use cog_train::{Job, prelude::*};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut job = Job::for_test(dir.path());
    /// # job.cancel_token().cancel();
    /// # fn save(step: u64, dir: &std::path::Path) -> Result<()> { Ok(std::fs::write(dir.join("saved"), step.to_string())?) }
    /// # let mut train = || -> Result<()> {
    /// for step in 1..=100 {
    ///     // ... one step ...
    ///     if job.cancelled() || job.save_requested() {
    ///         save(step, job.dir())?;
    ///     }
    ///     job.check_cancelled()?;
    /// }
    /// # Ok(())
    /// # };
    /// # assert_eq!(train().unwrap_err().to_string(), "cancelled");
    /// # assert_eq!(std::fs::read_to_string(dir.path().join("saved"))?, "1");
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
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
    ///
    /// A loop of one's own asks between steps, saves, and goes on; see the example of [`Job::cancelled`].
    #[must_use]
    pub fn save_requested(&self) -> bool {
        self.save.swap(false, Ordering::SeqCst)
    }

    /// The run's `checkpoints` folder, when `--resume` found a run that has one.
    ///
    /// A loop of one's own writes what it needs to go on into `job.dir().join("checkpoints")`, and looks here before its
    /// first step. A checkpoint should appear whole: written under another name, then renamed. What the run's earlier
    /// steps wrote into `metrics.jsonl` stays. A trainer that does not ask is warned about: it started over.
    ///
    /// ```
    /// # use cog_train::{Job, prelude::*};
    /// use std::fs;
    ///
    /// fn count(job: &mut Job, steps: u64) -> Result<u64> {
    ///     let (mut step, mut sum) = (0, 0);
    ///     if let Some(checkpoints) = job.resume_from() {
    ///         let text = fs::read_to_string(checkpoints.join("state.json"))?;
    ///         (step, sum) = cog_train::serde_json::from_str(&text)?;
    ///     }
    ///     let checkpoints = job.dir().join("checkpoints");
    ///     while step < steps {
    ///         step += 1;
    ///         sum += step;
    ///         if job.cancelled() || step % 10 == 0 {
    ///             fs::create_dir_all(&checkpoints)?;
    ///             fs::write(checkpoints.join("state.new"), format!("[{step}, {sum}]"))?;
    ///             fs::rename(checkpoints.join("state.new"), checkpoints.join("state.json"))?;
    ///         }
    ///         job.check_cancelled()?;
    ///     }
    ///     Ok(sum)
    /// }
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut job = Job::for_test(dir.path());
    /// job.cancel_token().cancel();
    /// assert!(count(&mut job, 15).is_err());
    /// # let mut job = Job::for_test_resumed(dir.path());
    /// # assert_eq!(count(&mut job, 15)?, 120);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn resume_from(&self) -> Option<&Path> {
        self.resume_read.set(true);
        self.mode.resume.as_deref()
    }

    /// Whether a plan that differs from that of the checkpoint is taken: `--resume=force`.
    pub(crate) fn resume_forced(&self) -> bool {
        self.mode.forced
    }

    /// Whether only a plan was asked for: `--plan`.
    pub(crate) fn plan_only(&self) -> bool {
        self.mode.plan
    }

    /// Whether anybody has called [`Job::resume_from`].
    pub(crate) fn was_resume_read(&self) -> bool {
        self.resume_read.get()
    }

    /// Whether the author's own loop was ended because only a plan was asked for.
    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut
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
        self.files.as_mut().and_then(Files::take_lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
