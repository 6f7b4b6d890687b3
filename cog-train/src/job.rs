//! The arguments of the author's methods: [`Setup`], the process, and [`Job`], one training or prediction.

mod events;
mod files;
mod histogram;
mod lines;
mod mode;
mod png;
mod protobuf;
mod records;
mod report;
mod requests;
mod rewind;
mod samples;
mod sampling;
mod setup;
mod stream;
mod summaries;
mod testing;

use std::cell::Cell;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use serde_json::{Map, Value};

use self::files::Files;
use crate::error::Error;
use crate::input::Mask;
use crate::parallel::{Communicator, Reduce};
use crate::progress::{CancelToken, Record, Report, json_number};
use crate::table::Table;
use cog_train_nn::rng::Rng;

pub use self::files::Marks;
pub(crate) use self::mode::{DryRun, DryRunEnded, Mode, TargetDirs};
pub use self::setup::Setup;

/// The folder of checkpoints in a run's folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// One training or prediction: its folder, its device, its seed, and the sink of its lines and metrics.
pub struct Job {
    id: String,
    dir: PathBuf,
    device: Device,
    communicator: Arc<dyn Communicator>,
    seed: u64,
    cancel: CancelToken,
    save: Arc<AtomicBool>,
    mode: Mode,
    resume_read: Cell<bool>,
    /// Whether a number or progress was reported.
    has_stepped: bool,
    dry_run: DryRun,
    report: Box<dyn Report>,
    mask: Mask,
    files: Option<Files>,
    records: Map<String, Value>,
}

/// The arguments of [`Job::start`].
pub(crate) struct Start {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) device: Device,
    pub(crate) communicator: Arc<dyn Communicator>,
    pub(crate) seed: u64,
    pub(crate) cancel: CancelToken,
    pub(crate) save: Arc<AtomicBool>,
    pub(crate) report: Box<dyn Report>,
    /// The texts that no line may show.
    pub(crate) mask: Mask,
    /// Whether to keep `log.txt`, `metrics.jsonl` and events in `dir`.
    pub(crate) keep_files: bool,
    pub(crate) mode: Mode,
}

impl Job {
    pub(crate) fn start(start: Start) -> Result<Self, Error> {
        let Start {
            id,
            dir,
            device,
            communicator,
            seed,
            cancel,
            save,
            report,
            mask,
            keep_files,
            mode,
        } = start;
        let files = if keep_files { Some(Files::open(&dir)?) } else { None };
        Ok(Self {
            id,
            dir,
            device,
            communicator,
            seed,
            cancel,
            save,
            mode,
            resume_read: Cell::new(false),
            has_stepped: false,
            dry_run: DryRun::Started,
            report,
            mask,
            files,
            records: Map::new(),
        })
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

    /// Returns the device to compute on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the processes that train together; [`Single`](crate::parallel::Single) where there is but one.
    #[must_use]
    pub fn communicator(&self) -> &Arc<dyn Communicator> {
        &self.communicator
    }

    /// Returns how gradients are added up over ranks, where the command line says so.
    pub(crate) fn reduce(&self) -> Option<Reduce> {
        self.mode.reduce
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
        if self.is_dry_run() && self.dry_run != DryRun::Started {
            return; // it is about a training that was not done
        }
        let text = text.to_string();
        let text = self.mask.text(&text);
        self.report.line(&text);
        if let Some(files) = &mut self.files {
            files.line(&text);
        }
    }

    /// A table to where lines go.
    pub(crate) fn table(&mut self, table: &Table) {
        if self.is_dry_run() && self.dry_run != DryRun::Started {
            return;
        }
        let table = table.map(|text| self.mask.text(text).into_owned());
        self.report.table(&table);
        if let Some(files) = &mut self.files {
            table.lines(None).iter().for_each(|line| files.line(line));
        }
    }

    /// One line to the terminal only: what differs between a straight and a resumed run stays out of `log.txt`.
    pub(crate) fn note(&mut self, text: impl Display) {
        let text = text.to_string();
        self.report.note(&self.mask.text(&text));
    }

    /// A number at a step (counted from 1), to `metrics.jsonl`, to the events that `TensorBoard` reads, and to whoever
    /// shows metrics.
    ///
    /// A number that is not finite is written as `"NaN"`, `"Infinity"` or `"-Infinity"`, for JSON has no number for it.
    pub fn metric(&mut self, name: &str, step: u64, value: f64) {
        if self.ends_in_dry_run(step) {
            return;
        }
        self.has_stepped = true;
        let name = self.mask.text(name);
        self.report.metric(&name, step, value);
        if let Some(files) = &mut self.files {
            files.metrics(step, &Map::from_iter([(name.into_owned(), json_number(value))]));
        }
    }

    /// All metrics of a step in one line of `metrics.jsonl`: `{"step":N, ...values}`. Each goes where
    /// [`Job::metric`] sends it; the texts of [`json_number`] are numbers too.
    pub(crate) fn step(&mut self, step: u64, values: &Map<String, Value>) {
        if self.ends_in_dry_run(step) {
            return;
        }
        self.has_stepped = true;
        let values = self.mask.map(values);
        self.report.step(step, &values);
        if let Some(files) = &mut self.files {
            files.metrics(step, &values);
        }
    }

    /// Reports the progress of the run in steps. `total` is 0 while it is not known.
    pub fn progress(&mut self, done: u64, total: u64) {
        if self.ends_in_dry_run(done) {
            return;
        }
        self.has_stepped = true;
        self.report.progress("steps", done, total);
    }

    /// Reports the number of the epoch in progress, counted from 1, and of all epochs, for whoever watches.
    pub(crate) fn epoch(&mut self, epoch: u64, epochs: u64) {
        self.report.epoch(epoch, epochs);
    }

    /// In a dry run nothing is reported of a step, and a loop of the author's own is cancelled at its first one. A loop that
    /// ignores that is unwound at the second step after it, since it would train to its end.
    fn ends_in_dry_run(&mut self, step: u64) -> bool {
        if !self.is_dry_run() {
            return false;
        }
        match self.dry_run {
            DryRun::Started => {
                self.dry_run = DryRun::OwnLoop { step };
                self.cancel.cancel();
            }
            DryRun::OwnLoop { step: first } if step > first.saturating_add(1) => {
                std::panic::resume_unwind(Box::new(DryRunEnded));
            }
            DryRun::OwnLoop { .. } | DryRun::Reported => {}
        }
        true
    }

    /// The progress of a dry run.
    pub(crate) fn dry_run(&self) -> DryRun {
        self.dry_run
    }

    /// Lets the lines that follow into a dry run's report.
    pub(crate) fn open_dry_run_report(&mut self) {
        self.dry_run = DryRun::Started;
    }

    /// Ends a dry run's report: the training is known.
    pub(crate) fn close_dry_run_report(&mut self) {
        self.dry_run = DryRun::Reported;
    }

    /// Puts a value into the `metrics` of the answer. Dots in the name nest; null deletes.
    ///
    /// A name of more than 128 characters or 4 segments, or one that is reserved (`predict_time`, `cog.*`), is named in
    /// a line and left out.
    pub fn record(&mut self, name: &str, value: impl Into<Value>, mode: Record) {
        let value = value.into();
        match records::put(&mut self.records, name, value.clone(), mode) {
            Ok(()) => self.report.record(&self.mask.text(name), &self.mask.value(value), mode),
            Err(problem) => {
                self.line(format_args!("warning: the record `{name}` {problem} and is left out"));
            }
        }
    }

    /// Returns the values of [`Job::record`].
    pub(crate) fn records(&self) -> &Map<String, Value> {
        &self.records
    }

    /// The first line or number that could not be kept.
    pub(crate) fn take_lost(&mut self) -> Option<Error> {
        self.files.as_mut().and_then(Files::take_lost)
    }
}

#[cfg(test)]
mod tests;
