//! The handles by which signals reach a worker process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The handles of a worker process that its signals reach.
#[derive(Clone, Default)]
pub(crate) struct WorkerControl {
    /// Requests a checkpoint of the training in progress.
    pub(crate) save: Arc<AtomicBool>,
}
