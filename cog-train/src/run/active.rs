//! The run in progress, as the thread that ends the process sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::Utc;
use super::folder::RunRecord;
use super::status::Status;

/// The folder of the run in progress.
#[derive(Clone, Default)]
pub(crate) struct ActiveRun(Arc<Mutex<Option<Folder>>>);

enum Folder {
    /// It holds the run's `run.json`.
    Recorded(PathBuf),
    /// It goes with the run.
    Temporary(PathBuf),
}

impl ActiveRun {
    pub(super) fn set_recorded(&self, dir: &Path) {
        *self.lock() = Some(Folder::Recorded(dir.to_owned()));
    }

    pub(super) fn set_temporary(&self, dir: &Path) {
        *self.lock() = Some(Folder::Temporary(dir.to_owned()));
    }

    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Records in `run.json` that the run was stopped, unless it has ended, or removes its temporary folder.
    pub(crate) fn stop(&self) {
        self.end(Status::Canceled, None);
    }

    /// Records in `run.json` the error that ends the process, unless the run has ended, or removes its temporary folder.
    pub(crate) fn fail(&self, error: &str) {
        self.end(Status::Failed, Some(error));
    }

    fn end(&self, status: Status, error: Option<&str>) {
        // The process ends now: nobody is left to handle an error.
        match &*self.lock() {
            Some(Folder::Recorded(dir)) => {
                let Ok(mut record) = RunRecord::read(dir) else { return };
                record.set("status", status.name());
                record.set("completed_at", Utc::now().rfc3339());
                record.set("error", error);
                let _ = record.write();
            }
            Some(Folder::Temporary(dir)) => drop(fs::remove_dir_all(dir)),
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Folder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
