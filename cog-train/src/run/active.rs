//! The run in progress, as the thread that ends the process sees it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Utc;
use super::folder::RunRecord;
use super::status::Status;

/// The folder of the run in progress.
#[derive(Clone, Default)]
pub(crate) struct ActiveRun(Arc<Mutex<Option<PathBuf>>>);

impl ActiveRun {
    pub(super) fn set(&self, dir: Option<&Path>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = dir.map(Path::to_owned);
    }

    /// Records in `run.json` that the run was stopped, unless it has ended.
    pub(crate) fn record_stop(&self) {
        self.record(Status::Canceled, None);
    }

    /// Records in `run.json` the error that ends the process, unless the run has ended.
    pub(crate) fn record_failure(&self, error: &str) {
        self.record(Status::Failed, Some(error));
    }

    fn record(&self, status: Status, error: Option<&str>) {
        let dir = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(dir) = dir.as_deref() else { return };
        let Ok(mut record) = RunRecord::read(dir) else { return };
        record.set("status", status.name());
        record.set("completed_at", Utc::now().rfc3339());
        record.set("error", error);
        // The process ends now: nobody is left to handle an error.
        let _ = record.write();
    }
}
