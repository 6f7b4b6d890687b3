//! One run from checked values to its end: the folder, `run.json`, the files, the job. What the command line and
//! [`Runner`](super::Runner) share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::bring::{Digests, bring};
use super::clock::Utc;
use super::folder::{RunFolder, RunRecord};
use crate::error::Error;
use crate::fetch::{is_url, redact};
use crate::input::{Entry, Mask, Values};
use crate::job::{Job, Mode, Setup, Start};
use crate::progress::{CancelToken, Report};

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
    _temporary: Option<TempDir>,
    mask: Mask,
    seed: u64,
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
        let mut record = RunRecord::new(&folder.dir);
        let (seed, origin) = seed_of(values, seed);
        record.set("id", folder.id.as_str());
        record.set("trainer", name);
        record.set("status", "running");
        record.set("started_at", Utc::now().rfc3339());
        record.set("seed", json!({"value": seed, "origin": origin}));
        record.set("versions", json!({"cog-train": env!("CARGO_PKG_VERSION")}));
        record.claim()?;
        Ok(Self {
            folder,
            record: Some(record),
            _temporary: None,
            mask: Mask::new(values.secrets()),
            seed,
            started: Instant::now(),
        })
    }

    /// Opens the folder of a prediction, which goes when the prediction is over.
    pub(crate) fn predict(values: &Values, seed: Option<u64>) -> Result<Self, Error> {
        let dir = tempfile::tempdir().map_err(Error::file("write into", &std::env::temp_dir()))?;
        Ok(Self {
            folder: RunFolder {
                id: format!("predict-{}", Utc::now().compact()),
                dir: dir.path().to_owned(),
            },
            record: None,
            _temporary: Some(dir),
            mask: Mask::new(values.secrets()),
            seed: seed_of(values, seed).0,
            started: Instant::now(),
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// Fetches what inputs point at and writes all that is known of the inputs into `run.json`.
    pub(crate) fn bring(
        &mut self,
        values: &mut Values,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<(), Error> {
        let given = described(values);
        let digests = bring(values, &self.folder.dir, cancel, report)?;
        if let Some(record) = &mut self.record {
            record.set("inputs", inputs_with_files(given, digests));
        }
        self.write()
    }

    /// The job of the run.
    pub(crate) fn job(&mut self, world: World<'_>) -> Result<Job, Error> {
        let device = world.setup.device().clone();
        if let Some(record) = &mut self.record {
            record.set("device", format!("{:?}", device.location()).to_lowercase());
        }
        self.write()?;
        Job::start(Start {
            id: self.folder.id.clone(),
            dir: self.folder.dir.clone(),
            device,
            seed: self.seed,
            cancel: world.cancel.clone(),
            save: Arc::clone(world.save),
            report: world.report,
            mask: self.mask.clone(),
            keep_files: self.record.is_some(),
            mode: Mode::default(),
        })
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

    /// Writes how the run ended into `run.json`.
    pub(crate) fn end(
        &mut self,
        status: Status,
        output: &Value,
        error: Option<&str>,
        metrics: &Map<String, Value>,
    ) -> Result<(), Error> {
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
        self.record.as_ref().map_or(Ok(()), RunRecord::write)
    }
}

/// Each input with its value and its origin; secrets are asterisks, and addresses are without credentials.
fn described(values: &Values) -> Map<String, Value> {
    let mut shown = values.clone();
    for (_, path) in shown.paths_mut() {
        if is_url(path) {
            *path = redact(path);
        }
    }
    let describe =
        |entry: Entry<'_>| json!({"value": entry.value, "origin": entry.origin.as_str()});
    shown.entries().map(|entry| (entry.name.to_owned(), describe(entry))).collect()
}

/// Adds the files behind the inputs.
fn inputs_with_files(mut inputs: Map<String, Value>, digests: Digests) -> Value {
    for (name, files) in digests {
        if let Some(Value::Object(input)) = inputs.get_mut(&name) {
            input.insert("files".to_owned(), files);
        }
    }
    Value::Object(inputs)
}

/// The run's seed and where it came from: an input named `seed`, else `--seed`, else drawn.
fn seed_of(values: &Values, argument: Option<u64>) -> (u64, &'static str) {
    let input =
        values.take::<u64>("seed").or_else(|_| values.take::<i64>("seed").map(i64::cast_unsigned));
    if let Ok(seed) = input {
        return (seed, "input");
    }
    if let Some(seed) = argument {
        return (seed, "--seed");
    }
    // The standard library's own source of randomness. 32 bits: a seed that a person can type again.
    let drawn = RandomState::new().build_hasher().finish();
    (drawn >> 32, "drawn")
}
