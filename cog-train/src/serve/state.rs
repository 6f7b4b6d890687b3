//! The state of the process that listens.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coglet::PredictionService;
use coglet::orchestrator::OrchestratorHandle;
use serde_json::Value;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::history::Unkept;
use super::options::Options;
use super::spawner::Watched;
use crate::run::Role;

/// The state that all requests share.
pub(super) struct Server {
    pub(super) role: Role,
    pub(super) options: Options,
    /// The OpenAPI document, its keys sorted.
    pub(super) document: Value,
    pub(super) service: Arc<PredictionService>,
    /// The worker that takes trainings.
    pub(super) worker: RwLock<Option<Arc<WorkerProcess>>>,
    /// Trainings in progress, until their last webhook is sent.
    pub(super) tasks: TaskTracker,
    /// Answers of trainings that have no file.
    pub(super) unkept: Unkept,
    /// The server ends: trainings save their state.
    pub(super) stopping: CancellationToken,
    /// Trainings that have not stopped are given up.
    pub(super) giving_up: CancellationToken,
}

/// A worker whose setup has succeeded.
pub(super) struct WorkerProcess {
    pub(super) handle: Arc<OrchestratorHandle>,
    pub(super) watched: Watched,
    /// Whether it has been given a training.
    pub(super) is_used: AtomicBool,
}
