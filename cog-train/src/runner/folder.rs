//! A run's folder: `runs/ID/`, or the one that `--run-dir` names.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::clock::Utc;
use super::outputs::publish::sync_dir;
use crate::error::Error;

/// Where runs go that name no folder.
const RUNS: &str = "runs";
/// The file by which a folder is known to hold a run.
const RECORD: &str = "run.json";

/// A folder that this run alone writes.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
}

impl RunFolder {
    /// A new folder in `runs/`, or `given`, which must not hold a run.
    pub(crate) fn create(given: Option<&Path>) -> Result<Self, Error> {
        let Some(dir) = given else { return Self::fresh() };
        if dir.join(RECORD).exists() {
            return Err(Error::Arguments {
                reason: format!(
                    "`--run-dir {}` already holds a run\nhint: name another folder, or leave `--run-dir` out for a new one",
                    dir.display()
                ),
            });
        }
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let dir = dir.canonicalize().map_err(Error::file("open", dir))?;
        let id = dir
            .file_name()
            .map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { id, dir })
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

/// `run.json`: what the run is and how it went, written whole each time.
#[derive(Debug)]
pub(crate) struct RunRecord {
    dir: PathBuf,
    fields: Map<String, Value>,
}

impl RunRecord {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), fields: Map::new() }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Writes the file beside its place and renames it.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let path = self.dir.join(RECORD);
        let mut staged = tempfile::Builder::new()
            .prefix(".run.json.")
            .tempfile_in(&self.dir)
            .map_err(Error::file("write into", &self.dir))?;
        serde_json::to_writer_pretty(&mut staged, &self.fields)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(staged))
            .and_then(|()| staged.as_file().sync_all())
            .map_err(Error::file("write", &path))?;
        staged.persist(&path).map_err(|error| Error::file("write", &path)(error.error))?;
        sync_dir(&self.dir)
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
        record.write().unwrap();
        let error = RunFolder::create(Some(&dir)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("already holds a run\nhint: "), "{error}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing staged stays");
    }
}
