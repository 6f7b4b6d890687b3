//! One run from checked values to its end: the folder, `run.json`, the files, the job. What the command line and
//! [`Runner`](super::Runner) share.

mod again;
mod given;
mod open;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use self::given::{add_files, described, resumed_seed, seed_of};
use super::bring::bring;
use super::clock::Utc;
use super::earlier::Earlier;
use super::folder::{RunFolder, RunRecord, shown};
use super::lock::Lock;
use super::returned;
use crate::error::Error;
use crate::input::{Mask, Spec, Values};
use crate::job::{Job, Marks, Mode, Places, Setup, Start};
use crate::output::Output;
use crate::progress::{CancelToken, Report};

pub(crate) use self::open::OpenRun;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Succeeded,
    Failed,
    /// Cog's spelling.
    Canceled,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if matches!(crate::error::find(error), Some(Error::Cancelled)) {
            Self::Canceled
        } else {
            Self::Failed
        }
    }
}

/// A run that has its folder.
pub(crate) struct Run {
    folder: RunFolder,
    /// A training keeps `run.json`, `log.txt` and `metrics.jsonl`; a prediction's folder goes with it.
    record: Option<RunRecord>,
    temporary: Option<TempDir>,
    lock: Option<Lock>,
    /// What is gone on with, and whether changed inputs are taken.
    earlier: Option<(Earlier, bool)>,
    /// Whether `run.json` is this process's to write. A run that may not be gone on with stays as it was.
    begun: bool,
    open: OpenRun,
    mask: Mask,
    seed: u64,
    seed_origin: String,
    plan: Option<Places>,
    started: Instant,
}

/// What a run needs from its process.
pub(crate) struct World<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) save: &'a Arc<AtomicBool>,
    pub(crate) report: Box<dyn Report>,
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
        // Without the files' digests yet: fetching them takes its time, and may be what is gone on with.
        record.set("inputs", described(values));
        record.claim()?;
        let mut run = Self::new(folder, values, (seed, origin.to_owned()));
        run.record = Some(record);
        run.lock = Some(lock);
        run.begun = true;
        Ok(run)
    }

    /// Opens a folder that goes when the plan was told. `places` are where the run itself would write.
    pub(crate) fn plan(
        earlier: Option<Earlier>,
        values: &Values,
        seed: Option<u64>,
        force: bool,
        places: Places,
    ) -> Result<Self, Error> {
        let mut run = Self::predict(values, seed)?;
        run.plan = Some(places);
        if let Some(earlier) = earlier {
            (run.seed, run.seed_origin) = resumed_seed(&earlier, values, seed);
            run.earlier = Some((earlier, force));
        }
        Ok(run)
    }

    /// Opens the folder of a prediction, which goes when the prediction is over.
    pub(crate) fn predict(values: &Values, seed: Option<u64>) -> Result<Self, Error> {
        let dir = tempfile::tempdir().map_err(Error::file("write into", &std::env::temp_dir()))?;
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
            earlier: None,
            begun: false,
            open: OpenRun::default(),
            mask: Mask::new(values.secrets()),
            seed,
            seed_origin,
            plan: None,
            started: Instant::now(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// The seed and where it came from.
    pub(crate) fn seed(&self) -> (u64, &str) {
        (self.seed, &self.seed_origin)
    }

    /// Lets the thread that ends the process know of this run.
    pub(crate) fn tell(&mut self, open: &OpenRun) {
        self.open = open.clone();
        if self.begun {
            self.open.set(Some(&self.folder.dir));
        }
    }

    /// Fetches what inputs point at and writes all that is known of the inputs into `run.json`.
    ///
    /// A run that is gone on with must have the inputs that it had.
    ///
    /// # Errors
    ///
    /// [`Error::Resume`] with all that has changed.
    pub(crate) fn bring(
        &mut self,
        table: &[Spec],
        values: &mut Values,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Map<String, Value>, Error> {
        let mut inputs = described(values);
        if let Some((earlier, _)) = &self.earlier {
            earlier.fetched_before(values)?;
        }
        let digests = bring(values, &self.folder.dir, cancel, report)?;
        add_files(&mut inputs, digests, &self.mask);
        if self.earlier.is_some() {
            self.begin_again(table, &mut inputs)?;
        }
        if let Some(record) = &mut self.record {
            record.set("inputs", inputs.clone());
        }
        self.write()?;
        Ok(inputs)
    }

    /// Whether `run.json` tells of this process.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The job of the run.
    pub(crate) fn job(&mut self, world: World<'_>) -> Result<Job, Error> {
        let device = world.setup.device().clone();
        if let Some(record) = &mut self.record {
            record.set("device", format!("{:?}", device.location()).to_lowercase());
        }
        self.write()?;
        let resume = self.earlier.as_ref().and_then(|(earlier, _)| earlier.checkpoints());
        let starts_over = self.earlier.is_some() && resume.is_none();
        let mut job = Job::start(Start {
            id: self.folder.id.clone(),
            dir: self.folder.dir.clone(),
            device,
            seed: self.seed,
            cancel: world.cancel.clone(),
            save: Arc::clone(world.save),
            report: world.report,
            mask: self.mask.clone(),
            keep_files: self.record.is_some(),
            mode: Mode {
                resume,
                forced: self.earlier.as_ref().is_some_and(|(_, forced)| *forced),
                plan: self.plan.clone(),
            },
        })?;
        if starts_over {
            job.rewind(&Marks::default())?;
        }
        Ok(job)
    }

    /// Whether an earlier process's run is gone on with.
    pub(crate) fn is_resumed(&self) -> bool {
        self.earlier.is_some()
    }

    /// The metrics of the answer: what the author recorded, and how long it took in seconds.
    pub(crate) fn metrics(&self, job: &Job) -> Map<String, Value> {
        let mut metrics = match self.mask.value(Value::Object(job.records().clone())) {
            Value::Object(metrics) => metrics,
            _ => Map::new(),
        };
        metrics.insert("predict_time".to_owned(), self.started.elapsed().as_secs_f64().into());
        metrics
    }

    /// Keeps what was returned, so that a later `--resume` can write it again. An output with a secret in it is not
    /// kept.
    pub(crate) fn keep(&mut self, output: &Output) {
        if let Some(record) = &mut self.record {
            let kept = returned::keep(output, &self.folder.dir);
            if self.mask.value(kept.clone()) == kept {
                record.set("returned", kept);
            }
        }
    }

    /// Writes how the run ended into `run.json`.
    pub(crate) fn end(
        &mut self,
        status: Status,
        output: &Value,
        error: Option<&str>,
        metrics: &Map<String, Value>,
    ) -> Result<(), Error> {
        self.open.set(None);
        if let Some(record) = &mut self.record {
            record.set("status", status.name());
            record.set("completed_at", Utc::now().rfc3339());
            record.set("output", self.mask.value(output.clone()));
            record.set("error", error.map(|text| self.mask.text(text).into_owned()));
            record.set("metrics", metrics.clone());
        }
        self.write()
    }

    /// The text without the secrets of the run's inputs.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.mask.text(text).into_owned()
    }

    fn write(&self) -> Result<(), Error> {
        self.record.as_ref().filter(|_| self.begun).map_or(Ok(()), RunRecord::write)
    }
}
