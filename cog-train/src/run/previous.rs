//! The run that `--resume` resumes: its folder, its `run.json`, its inputs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::folder::{RECORD, RUNS, RunFolder, RunRecord, shown};
use super::given::Given;
use super::lock::Lock;
use super::recorded::{HIDDEN, is_shortened, seed_of};
use super::saved_output;
use crate::error::Error;
use crate::fetch::is_url;
use crate::input::{self, Problem, Spec, Values};
use crate::output::Output;

/// A run that was begun by an earlier process.
#[derive(Debug)]
pub(crate) struct PreviousRun {
    pub(crate) dir: PathBuf,
    pub(crate) fields: Map<String, Value>,
    /// The inputs that were given now and not taken from `run.json`.
    pub(crate) given: BTreeSet<String>,
    /// Held from before the record is read until the process ends.
    lock: Option<Lock>,
}

impl PreviousRun {
    /// Finds the run in `run_dir`, or the trainer's newest in `runs/`.
    ///
    /// # Errors
    ///
    /// When the folder is another trainer's, its `run.json` cannot be read, or there is none beside checkpoints.
    pub(crate) fn find(trainer: &str, run_dir: Option<&Path>) -> Result<Option<Self>, Error> {
        let Some(dir) = run_dir else { return newest(trainer) };
        if !dir.join(RECORD).exists() {
            RunFolder::check(Some(dir))?;
            return Ok(None);
        }
        let previous = Self::read(dir)?;
        match previous.fields.get("trainer").and_then(Value::as_str) {
            Some(name) if name == trainer => Ok(Some(previous)),
            other => Err(Error::Resume {
                reason: format!(
                    "`{}` holds a run of {}, and this is `{trainer}`",
                    dir.display(),
                    other.map_or_else(|| "no trainer".to_owned(), |name| format!("`{name}`"))
                ),
            }),
        }
    }

    /// A run whose folder rank 0 has opened and locked.
    pub(crate) fn elsewhere(dir: PathBuf, fields: Map<String, Value>) -> Self {
        Self { dir, fields, given: BTreeSet::new(), lock: None }
    }

    fn read(dir: &Path) -> Result<Self, Error> {
        let dir = dir.canonicalize().map_err(Error::file("open", dir))?;
        let fields = RunRecord::read(&dir)?.into_fields();
        Ok(Self { dir, fields, given: BTreeSet::new(), lock: None })
    }

    /// Locks the folder against other processes, and reads again what the last of them wrote.
    pub(crate) fn lock(&mut self) -> Result<(), Error> {
        self.lock = Lock::take(&self.dir)?;
        if self.lock.is_none() {
            let reason = format!("another process is training in `{}`", self.shown());
            return Err(Error::Resume { reason });
        }
        self.fields = RunRecord::read(&self.dir)?.into_fields();
        Ok(())
    }

    /// Hands the lock to the run that takes over.
    pub(crate) fn take_lock(&mut self) -> Option<Lock> {
        self.lock.take()
    }

    /// Returns the folder as it may be typed.
    pub(crate) fn shown(&self) -> String {
        shown(&self.dir)
    }

    /// Whether there is nothing left to train.
    pub(crate) fn is_finished(&self) -> bool {
        self.fields.get("status").and_then(Value::as_str) == Some("succeeded")
    }

    /// Returns the folder of the run's checkpoints, if there is one.
    pub(crate) fn checkpoints(&self) -> Option<PathBuf> {
        let dir = self.dir.join(crate::job::CHECKPOINTS);
        dir.is_dir().then_some(dir)
    }

    /// Restores the output of a finished run.
    pub(crate) fn saved_output(&self) -> Result<Output, Error> {
        saved_output::restore(self.fields.get("returned").unwrap_or(&Value::Null), &self.dir)
    }

    /// Returns the metrics that the run ended with.
    pub(crate) fn metrics(&self) -> Map<String, Value> {
        self.fields.get("metrics").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    pub(crate) fn inputs(&self) -> Option<&Map<String, Value>> {
        self.fields.get("inputs")?.as_object()
    }

    /// Returns the seed of the resumed run: an input, else `--seed`, else that of `run.json`.
    pub(crate) fn resumed_seed(&self, values: &Values, argument: Option<u64>) -> (u64, String) {
        match (seed_of(values, argument), self.seed()) {
            ((_, "drawn"), Some(old)) => old,
            ((seed, "--seed"), Some(old)) if old.0 == seed => old,
            ((seed, origin), _) => (seed, origin.to_owned()),
        }
    }

    /// Returns the seed and its origin.
    pub(crate) fn seed(&self) -> Option<(u64, String)> {
        let seed = self.fields.get("seed")?;
        Some((seed.get("value")?.as_u64()?, seed.get("origin")?.as_str()?.to_owned()))
    }

    /// Takes inputs that were not given now from `run.json`. A secret that was given then must be given again.
    pub(crate) fn fill(&mut self, table: &[Spec], given: &mut Given) {
        let here = table.iter().filter(|spec| given.get(spec.name).is_some());
        self.given = here.map(|spec| spec.name.to_owned()).collect();
        let Some(inputs) = self.inputs() else { return };
        let left = table.iter().filter(|spec| !self.given.contains(spec.name));
        let Recorded { values, problems } = recorded(left, inputs);
        given.fill(values);
        for problem in problems {
            given.refuse(problem);
        }
    }

    /// Replaces addresses that were not given now by the files that were fetched then.
    ///
    /// # Errors
    ///
    /// [`Error::Resume`] when there is no such file and `run.json` holds the address without its query, credentials or
    /// content: another file might be fetched.
    pub(crate) fn reuse_fetched(&self, values: &mut Values) -> Result<(), Error> {
        for (name, text) in values.paths_mut() {
            let (input, index) = name.split_once('/').unwrap_or((&name, "0"));
            if !is_url(text) || self.given.contains(input) {
                continue;
            }
            let file = self.inputs().and_then(|inputs| {
                inputs.get(input)?.get("files")?.get(index.parse::<usize>().ok()?)?.get("path")
            });
            match file.and_then(Value::as_str).and_then(|path| self.moved(path)) {
                Some(path) => *text = path.display().to_string(),
                None if is_shortened(text) => {
                    let reason = format!(
                        "the file of the input `{name}` is not there, and its address `{text}` was recorded in part\n\
                         hint: give it again with `-i {input}=ADDRESS`"
                    );
                    return Err(Error::Resume { reason });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A fetched file, also when the run's folder is no longer where it was.
    fn moved(&self, path: &str) -> Option<PathBuf> {
        let inner = path.rfind("/inputs/").map(|at| self.dir.join(&path[at + 1..]));
        [Some(PathBuf::from(path)), inner].into_iter().flatten().find(|path| path.is_file())
    }
}

/// Inputs that a run recorded.
struct Recorded {
    values: Map<String, Value>,
    /// Those that were not kept.
    problems: Vec<Problem>,
}

/// Reads inputs of `run.json`. A secret that was given then must be given again.
fn recorded<'a>(table: impl Iterator<Item = &'a Spec>, inputs: &Map<String, Value>) -> Recorded {
    let (mut values, mut problems) = (Map::new(), Vec::new());
    for spec in table {
        let Some(entry) = inputs.get(spec.name) else { continue };
        let value = entry.get("value").unwrap_or(&Value::Null);
        let is_secret = spec.ty.kind == input::Kind::Secret;
        if is_secret || entry.get(HIDDEN) == Some(&Value::Bool(true)) {
            if !value.is_null() && *value != Value::Array(Vec::new()) {
                let text = if is_secret {
                    "it was given to the run, and secrets are not kept"
                } else {
                    "its value held a secret, and secrets are not kept"
                };
                let hint = format!("give it again with `-i {}=VALUE`", spec.name);
                problems.push(Problem::new(spec.name, text).with_hint(hint));
            }
        } else if entry.get("origin").and_then(Value::as_str) != Some("absent") {
            values.insert(spec.name.to_owned(), value.clone());
        }
    }
    Recorded { values, problems }
}

/// Returns the inputs of an earlier run for a new one, from the fields of its `run.json`; `None` for fields of something else.
///
/// # Errors
///
/// [`Error::Arguments`] for a run of another trainer.
pub(crate) fn inputs_of_run(
    trainer: &str,
    table: &[Spec],
    fields: &Map<String, Value>,
) -> Result<Option<Given>, Error> {
    let inputs = fields.get("inputs").and_then(Value::as_object);
    let name = fields.get("trainer").and_then(Value::as_str);
    let (Some(inputs), Some(name), true) = (inputs, name, fields.contains_key("started_at")) else {
        return Ok(None);
    };
    if name != trainer {
        let reason = format!("it is the record of a run of `{name}`, and this is `{trainer}`");
        return Err(Error::Arguments { reason });
    }
    let Recorded { mut values, mut problems } = recorded(table.iter(), inputs);
    values.retain(|name, value| {
        let texts = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let is_part = |text: &str| is_url(text) && is_shortened(text);
        let whole = !texts.iter().any(|text| text.as_str().is_some_and(is_part));
        if !whole {
            let hint = format!("give it again with `-i {name}=ADDRESS`");
            problems.push(Problem::new(name, "its address was recorded in part").with_hint(hint));
        }
        whole
    });
    Ok(Some(Given::new(values, problems)))
}

/// By `started_at`, whose text sorts like the time, and then by name.
fn newest(trainer: &str) -> Result<Option<PreviousRun>, Error> {
    let runs = Path::new(RUNS);
    let entries = match fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", runs)(error)),
    };
    let key = |run: &PreviousRun| {
        let started = run.fields.get("started_at").and_then(Value::as_str).map(str::to_owned);
        (started, run.dir.clone())
    };
    Ok(entries
        .flatten()
        // What is not readable was not written by this program.
        .filter_map(|entry| PreviousRun::read(&entry.path()).ok())
        .filter(|run| run.fields.get("trainer").and_then(Value::as_str) == Some(trainer))
        .max_by_key(key))
}
