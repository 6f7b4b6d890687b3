//! One run from checked values to its end: the folder, `run.json`, the files, the job.

pub(crate) mod follower;
mod takeover;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::active::ActiveRun;
use super::clock::Utc;
use super::fetch_inputs::fetch_inputs;
use super::folder::{RunFolder, RunRecord, shown};
use super::lock::Lock;
use super::previous::PreviousRun;
use super::recorded::{add_files, described, seed_of};
use super::request::{Control, FileRules};
use super::saved_output;
use super::status::Status;
use crate::error::Error;
use crate::input::{Mask, Spec, Values};
use crate::job::{Job, Marks, Mode, Setup, Start, TargetDirs};
use crate::output::Output;
use crate::partial;
use crate::progress::{CancelToken, Report};

/// The beginning of the names of temporary folders.
const TEMPORARY: &str = ".cog-train-run-";

/// A run that has its folder.
pub(crate) struct Run {
    folder: RunFolder,
    /// A training keeps `run.json`, `log.txt` and `metrics.jsonl`; a prediction's folder goes with it.
    record: Option<RunRecord>,
    temporary: Option<partial::Folder>,
    lock: Option<Lock>,
    /// The run that is resumed, and whether changed inputs are accepted.
    previous: Option<(PreviousRun, bool)>,
    /// The checkpoints of rank 0, on the other ranks.
    checkpoints: Option<PathBuf>,
    /// Whether `run.json` is this process's to write. A run that may not be resumed stays as it was.
    begun: bool,
    active: ActiveRun,
    mask: Mask,
    seed: u64,
    seed_origin: String,
    targets: Option<TargetDirs>,
    metrics: Map<String, Value>,
    started: Instant,
}

impl Run {
    /// Opens the folder of a training: `run_dir` or a new one in `runs/`.
    pub(crate) fn train(
        name: &str,
        run_dir: Option<&Path>,
        values: &Values,
        seed: Option<u64>,
    ) -> Result<Self, Error> {
        let folder = RunFolder::create(run_dir)?;
        let Some(lock) = Lock::take(&folder.dir)? else {
            let dir = shown(&folder.dir);
            let reason = format!("another process is training in `--run-dir {dir}`");
            return Err(Error::Arguments { reason });
        };
        let mut record = RunRecord::new(&folder.dir);
        let (seed, origin) = seed_of(values, seed);
        record.set("id", folder.id.as_str());
        record.set("trainer", name);
        record.set("status", "running");
        record.set("started_at", Utc::now().rfc3339());
        record.set("seed", json!({"value": seed, "origin": origin}));
        record.set("versions", json!({"cog-train": env!("CARGO_PKG_VERSION")}));
        // Without the files' digests yet: a download takes its time, and may be what is interrupted and resumed.
        record.set("inputs", described(values));
        record.claim()?;
        let mut run = Self::new(folder, values, (seed, origin.to_owned()));
        run.record = Some(record);
        run.lock = Some(lock);
        run.begun = true;
        Ok(run)
    }

    /// Opens a folder that is removed after a dry run. `targets` are the folders that the run itself would write to.
    pub(crate) fn dry_run(
        previous: Option<PreviousRun>,
        values: &Values,
        seed: Option<u64>,
        force: bool,
        targets: TargetDirs,
    ) -> Result<Self, Error> {
        let mut run = Self::predict(values, seed)?;
        run.targets = Some(targets);
        if let Some(previous) = previous {
            (run.seed, run.seed_origin) = previous.resumed_seed(values, seed);
            run.previous = Some((previous, force));
        }
        Ok(run)
    }

    /// Opens the folder of a prediction, which is removed after it, or by a later run if this process is killed.
    pub(crate) fn predict(values: &Values, seed: Option<u64>) -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        let dir =
            partial::folder(&parent, TEMPORARY).map_err(Error::file("write into", &parent))?;
        let folder = RunFolder {
            id: format!("predict-{}", Utc::now().compact()),
            dir: dir.path().to_owned(),
        };
        let (seed, origin) = seed_of(values, seed);
        let mut run = Self::new(folder, values, (seed, origin.to_owned()));
        run.temporary = Some(dir);
        Ok(run)
    }

    fn new(folder: RunFolder, values: &Values, (seed, seed_origin): (u64, String)) -> Self {
        Self {
            folder,
            record: None,
            temporary: None,
            lock: None,
            previous: None,
            checkpoints: None,
            begun: false,
            active: ActiveRun::default(),
            mask: Mask::new(values.secrets()),
            seed,
            seed_origin,
            targets: None,
            metrics: Map::new(),
            started: Instant::now(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// The seed and its origin.
    pub(crate) fn seed(&self) -> (u64, &str) {
        (self.seed, &self.seed_origin)
    }

    /// Registers the run with the thread that ends the process.
    pub(crate) fn register(&mut self, active: &ActiveRun) {
        self.active = active.clone();
        if self.begun {
            self.active.set_recorded(&self.folder.dir);
        } else if self.temporary.is_some() {
            self.active.set_temporary(&self.folder.dir);
        }
    }

    /// Fetches the files of the inputs and records the inputs in `run.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Resume`] with every input of a resumed run that has changed.
    pub(crate) fn fetch_inputs(
        &mut self,
        table: &[Spec],
        values: &mut Values,
        rules: FileRules,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Map<String, Value>, Error> {
        let mut inputs = described(values);
        if let Some((previous, _)) = &self.previous {
            previous.reuse_fetched(values)?;
        }
        let digests = fetch_inputs(values, &self.folder.dir, rules, cancel, report)?;
        add_files(&mut inputs, digests, &self.mask);
        if self.previous.is_some() {
            self.take_over(table, &mut inputs)?;
        }
        if let Some(record) = &mut self.record {
            record.set("inputs", inputs.clone());
        }
        self.write()?;
        Ok(inputs)
    }

    /// Whether `run.json` is about this process.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The job of the run.
    pub(crate) fn job(
        &mut self,
        setup: &Setup,
        control: &Control,
        report: Box<dyn Report>,
    ) -> Result<Job, Error> {
        let device = setup.device().clone();
        let communicator = control.ranks.connect(&device)?;
        if let Some(record) = &mut self.record {
            record.set("device", format!("{:?}", device.location()).to_lowercase());
        }
        self.write()?;
        let resume = match &self.previous {
            Some(_) if control.ranks.is_follower() => self.checkpoints.clone(),
            Some((previous, _)) => previous.checkpoints(),
            None => None,
        };
        let starts_over = self.previous.is_some() && resume.is_none();
        let mut job = Job::start(Start {
            id: self.folder.id.clone(),
            dir: self.folder.dir.clone(),
            device,
            communicator,
            seed: self.seed,
            cancel: control.cancel.clone(),
            save: Arc::clone(&control.save),
            report,
            mask: self.mask.clone(),
            keep_files: self.record.is_some(),
            mode: Mode {
                resume,
                forced: self.previous.as_ref().is_some_and(|(_, forced)| *forced),
                reduce: control.reduce,
                dry_run: self.targets.clone(),
            },
        })?;
        if starts_over {
            job.rewind(&Marks::default())?;
        }
        Ok(job)
    }

    /// Whether the run was begun by an earlier process.
    pub(crate) fn is_resumed(&self) -> bool {
        self.previous.is_some()
    }

    /// Takes the metrics of the answer: the author's records, and the elapsed time in seconds.
    pub(crate) fn take_metrics(&mut self, job: &Job) {
        self.metrics = match self.mask.value(Value::Object(job.records().clone())) {
            Value::Object(metrics) => metrics,
            _ => Map::new(),
        };
        self.metrics.insert("predict_time".to_owned(), self.started.elapsed().as_secs_f64().into());
    }

    pub(crate) fn metrics(&self) -> &Map<String, Value> {
        &self.metrics
    }

    /// Saves the output in `run.json`, so that a later `--resume` can publish it again. An output that holds a secret is
    /// not saved.
    pub(crate) fn save_output(&mut self, output: &Output) {
        if let Some(record) = &mut self.record {
            let saved = saved_output::save(output, &self.folder.dir);
            if self.mask.value(saved.clone()) == saved {
                record.set("returned", saved);
            }
        }
    }

    /// Records the end of the run in `run.json`.
    pub(crate) fn end(
        &mut self,
        status: Status,
        output: &Value,
        error: Option<&str>,
    ) -> Result<(), Error> {
        // Whoever ends the process before the temporary folder is removed removes it.
        if self.temporary.is_none() {
            self.active.clear();
        }
        if let Some(record) = &mut self.record {
            record.set("status", status.name());
            record.set("completed_at", Utc::now().rfc3339());
            record.set("output", self.mask.value(output.clone()));
            record.set("error", error.map(|text| self.mask.text(text).into_owned()));
            record.set("metrics", self.metrics.clone());
        }
        self.write()
    }

    /// Returns the text without the secrets of the run's inputs.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.mask.text(text).into_owned()
    }

    fn write(&self) -> Result<(), Error> {
        self.record.as_ref().filter(|_| self.begun).map_or(Ok(()), RunRecord::write)
    }
}
