//! A run's folder: `runs/ID/`, or the one that `--run-dir` names.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::clock::Utc;
#[cfg(feature = "serve")]
use super::lock::is_locked;
use super::staging::{parent_of, staging_file, sync_dir};
use crate::error::Error;
use crate::job::CHECKPOINTS;
use crate::read;

/// The folder of runs that name no folder.
pub(crate) const RUNS: &str = "runs";
/// The file by which a folder is known to hold a run.
pub(super) const RECORD: &str = "run.json";

/// A folder that this run alone writes.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
}

/// Returns the folder of the run with this id. The caller has checked the id.
#[cfg(feature = "serve")]
pub(crate) fn run_dir_of(id: &str) -> PathBuf {
    Path::new(RUNS).join(id)
}

/// Whether a folder holds a run.
#[cfg(feature = "serve")]
pub(crate) fn is_run(dir: &Path) -> bool {
    dir.join(RECORD).is_file()
}

/// A folder as it may be typed: below the current one without it, quoted for a shell where that is needed.
pub(crate) fn shown(dir: &Path) -> String {
    let here = std::env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
    let text = match dir.strip_prefix(&here) {
        Ok(inner) if !inner.as_os_str().is_empty() => inner.display().to_string(),
        _ => dir.display().to_string(),
    };
    let plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

impl RunFolder {
    /// Refuses a folder that holds a run or the checkpoints of one, and what is no folder.
    pub(crate) fn check(given: Option<&Path>) -> Result<(), Error> {
        match given {
            Some(dir) if dir.join(RECORD).exists() => Err(taken(dir)),
            Some(dir) if dir.exists() && !dir.is_dir() => Err(Error::Arguments {
                reason: format!("`--run-dir {}` is not a folder", dir.display()),
            }),
            Some(dir) if has_entries(&dir.join(CHECKPOINTS)) => Err(without_record(dir)),
            _ => Ok(()),
        }
    }

    /// Returns the folder around the run's own, where other runs are.
    pub(crate) fn runs(given: Option<&Path>) -> PathBuf {
        given.map_or_else(|| RUNS.into(), |dir| parent_of(dir).to_owned())
    }

    /// A new folder in `runs/`, or `given`, which must not hold a run.
    pub(crate) fn create(given: Option<&Path>) -> Result<Self, Error> {
        Self::check(given)?;
        let Some(dir) = given else { return Self::fresh() };
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        Ok(Self::of(dir.canonicalize().map_err(Error::file("open", dir))?))
    }

    /// A folder that is there; its name is the run's.
    pub(crate) fn of(dir: PathBuf) -> Self {
        let name = dir.file_name();
        let id = name.map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        Self { id, dir }
    }

    /// Checks that the run's folder can be created and written, and leaves nothing there. Returns the folder itself, or the
    /// nearest existing one above it.
    pub(crate) fn probe(given: Option<&Path>) -> Result<PathBuf, Error> {
        let wanted = given.map_or_else(|| PathBuf::from(RUNS), Path::to_owned);
        let wanted = std::path::absolute(&wanted).map_err(Error::file("open", &wanted))?;
        let there = wanted.ancestors().find(|dir| dir.exists()).unwrap_or(&wanted);
        tempfile::tempfile_in(there).map_err(Error::file("write into", there))?;
        Ok(there.to_owned())
    }

    fn fresh() -> Result<Self, Error> {
        let runs = Path::new(RUNS);
        fs::create_dir_all(runs).map_err(Error::file("create", runs))?;
        let base = Utc::now().compact();
        // Two runs may start in one second.
        for number in 1_u32.. {
            let id = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            let dir = runs.join(&id);
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let dir = dir.canonicalize().map_err(Error::file("open", &dir))?;
                    return Ok(Self { id, dir });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::file("create", &dir)(error)),
            }
        }
        unreachable!("a number that is not taken is found first")
    }
}

fn taken(dir: &Path) -> Error {
    let dir = shown(dir);
    Error::Arguments {
        reason: format!(
            "`--run-dir {dir}` already holds a run\nhint: `--resume --run-dir {dir}` resumes it; name another folder for a new run"
        ),
    }
}

/// A new run would remove the checkpoints of the one whose record is missing.
fn without_record(dir: &Path) -> Error {
    let dir = shown(dir);
    Error::Arguments {
        reason: format!(
            "`--run-dir {dir}` holds the checkpoints of a run, and no `{RECORD}`\nhint: put `{RECORD}` back to resume the run; name another folder for a new run"
        ),
    }
}

fn has_entries(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// `run.json`: what the run is and how it went, written whole each time.
#[derive(Debug)]
pub(crate) struct RunRecord {
    dir: PathBuf,
    fields: Map<String, Value>,
}

impl RunRecord {
    pub(crate) fn new(dir: &Path) -> Self {
        Self::from(dir, Map::new())
    }

    /// Reads the record of a run that is there.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(RECORD);
        let text = read::file(&path, read::JSON_BYTES)?;
        let fields = serde_json::from_slice(&text).map_err(|error| Error::Resume {
            reason: format!(
                "`{}` is not whole: {error}\nhint: start a new run in another folder",
                shown(&path)
            ),
        })?;
        Ok(Self::from(dir, fields))
    }

    pub(crate) fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// The record of a run that is there.
    pub(crate) fn from(dir: &Path, fields: Map<String, Value>) -> Self {
        Self { dir: dir.to_owned(), fields }
    }

    /// Returns the status of the run: the recorded one, unless the process that was to record the end has died. `is_live` says
    /// that it has not.
    #[cfg(feature = "serve")]
    pub(crate) fn state(&self, is_live: bool) -> String {
        let recorded = self.get("status").as_str().unwrap_or("unknown");
        if is_live || (recorded == "running" && is_locked(&self.dir)) {
            "running".to_owned()
        } else if recorded == "running" {
            "interrupted".to_owned()
        } else {
            recorded.to_owned()
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.shift_remove(name);
    }

    pub(crate) fn get(&self, name: &str) -> &Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Writes the file for the first time. Of two runs that want one folder, one gets it.
    pub(crate) fn claim(&self) -> Result<(), Error> {
        self.stage()?.persist_noclobber(self.path()).map_err(|error| match error.error.kind() {
            ErrorKind::AlreadyExists => taken(&self.dir),
            _ => Error::file("write", &self.path())(error.error),
        })?;
        sync_dir(&self.dir)
    }

    /// Writes the file under a temporary name and renames it.
    pub(crate) fn write(&self) -> Result<(), Error> {
        self.stage()?
            .persist(self.path())
            .map_err(|error| Error::file("write", &self.path())(error.error))?;
        sync_dir(&self.dir)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(RECORD)
    }

    fn stage(&self) -> Result<NamedTempFile, Error> {
        let mut staged = staging_file(&self.dir, &self.path())?;
        let mut text = serde_json::to_vec_pretty(&self.fields).expect("a JSON object is JSON");
        text.push(b'\n');
        // One write: the serializer alone makes one for every token.
        staged
            .write_all(&text)
            .and_then(|()| staged.as_file().sync_all())
            .map_err(Error::file("write", &self.path()))?;
        Ok(staged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_run_in_it_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        let first = RunFolder::create(Some(&dir)).unwrap();
        assert_eq!(first.id, "b");
        RunFolder::create(Some(&dir)).expect("an empty folder may be given again");
        let mut record = RunRecord::new(&first.dir);
        record.set("status", "running");
        record.claim().unwrap();
        record.write().unwrap();
        assert!(record.claim().is_err(), "of two runs one gets the folder");
        let error = RunFolder::create(Some(&dir)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("already holds a run\nhint: "), "{error}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing staged stays");
    }

    #[test]
    fn a_folder_with_checkpoints_and_no_record_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("r");
        fs::create_dir_all(dir.join(CHECKPOINTS)).unwrap();
        RunFolder::create(Some(&dir)).expect("there is no checkpoint");
        fs::create_dir(dir.join(CHECKPOINTS).join("step-000001")).unwrap();
        let error = RunFolder::create(Some(&dir)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            text.contains("holds the checkpoints of a run, and no `run.json`\nhint: "),
            "{text}"
        );
    }

    /// The writes of this thread so far; `None` where the system does not count them.
    #[cfg(target_os = "linux")]
    fn writes() -> Option<u64> {
        let counts = fs::read_to_string("/proc/thread-self/io").ok()?;
        counts.lines().find_map(|line| line.strip_prefix("syscw: "))?.parse().ok()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_record_of_many_numbers_is_few_writes() {
        let temp = tempfile::tempdir().unwrap();
        let mut record = RunRecord::new(temp.path());
        record.set("inputs", (0..20_000).collect::<Vec<u64>>());
        let Some(before) = writes() else { return };
        record.claim().unwrap();
        record.write().unwrap();
        let count = writes().unwrap() - before;
        assert!(count < 20, "{count} writes");
        let read = RunRecord::read(temp.path()).unwrap();
        assert_eq!(read.get("inputs").as_array().unwrap().len(), 20_000);
    }

    #[test]
    fn partial_records_of_dead_processes_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let partial = temp.path().join(".run.json.AbCdEf0123.partial");
        fs::write(&partial, "half").unwrap();
        RunRecord::new(temp.path()).claim().unwrap();
        assert!(!partial.exists());
    }
}
