//! What the thread that ends the process knows of the run under way.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Status;
use crate::runner::clock::Utc;
use crate::runner::folder::RunRecord;

/// The folder of the run under way, for the thread that ends the process.
#[derive(Clone, Default)]
pub(crate) struct OpenRun(Arc<Mutex<Option<PathBuf>>>);

impl OpenRun {
    pub(super) fn set(&self, dir: Option<&Path>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = dir.map(Path::to_owned);
    }

    /// Writes into `run.json` that the run was stopped, if it is not at its end anyway.
    pub(crate) fn cut_off(&self) {
        let dir = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(dir) = dir.as_deref() else { return };
        let Ok(mut record) = RunRecord::read(dir) else { return };
        record.set("status", Status::Canceled.name());
        record.set("completed_at", Utc::now().rfc3339());
        // The process ends now: there is nobody to tell that it failed.
        let _ = record.write();
    }
}
