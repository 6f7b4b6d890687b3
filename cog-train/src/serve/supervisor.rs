//! Keeps a worker running: starts it, reports its setup, and starts another one when it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use coglet::bridge::protocol::SlotId;
use coglet::orchestrator::{
    HealthcheckResult, OrchestratorConfig, OrchestratorError, OrchestratorHandle,
    OrchestratorReady, spawn_worker,
};
use coglet::permit::SlotIdleToken;
use coglet::{Health, Orchestrator, Prediction, SetupResult, drain_accumulated_logs};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::logs::{SetupLogs, TARGET};
use super::options::setup_timeout;
use super::spawner::{SelfSpawner, Watched};
use super::state::{Server, WorkerProcess};
use crate::run::Kind;

/// The pause before a worker that ended early is started again; each next pause is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A worker that lived this long did not end early.
const LONG: Duration = Duration::from_secs(10);
/// The time in which the message of a worker that has ended arrives.
const LAST_MESSAGE: Duration = Duration::from_millis(500);

/// Starts workers until the task is aborted. A first setup that fails is final, as with Cog.
pub(super) async fn supervise(server: Arc<Server>, mut logs: SetupLogs) {
    let (mut pause, mut is_first) = (PAUSE, true);
    loop {
        let setup = SetupResult::starting();
        server.service.set_setup_result(setup.clone()).await;
        server.service.set_health(Health::Starting).await;
        let began = Instant::now();
        match start(&server, &mut logs).await {
            Ok((ready, watched)) => {
                let printed = ready.setup_logs.clone();
                let process = server.take(ready, watched.clone()).await;
                server.service.set_setup_result(setup.succeeded(printed)).await;
                server.service.set_health(Health::Ready).await;
                is_first = false;
                let end = watched.ended().await;
                server.service.set_health(Health::Starting).await;
                warn!(target: TARGET, "{end}; another one is started");
                // The training is to blame, and not the worker.
                if process.is_used.load(Ordering::Relaxed) {
                    pause = PAUSE;
                    continue;
                }
            }
            Err(error) => {
                drain_accumulated_logs(&mut logs);
                warn!(target: TARGET, "setup failed: {error}");
                server.service.set_health(Health::SetupFailed).await;
                server.service.set_setup_result(setup.failed(error)).await;
                if is_first {
                    return;
                }
            }
        }
        if began.elapsed() < LONG {
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        } else {
            pause = PAUSE;
        }
    }
}

/// Starts a worker and waits for its setup.
async fn start(
    server: &Server,
    logs: &mut SetupLogs,
) -> Result<(OrchestratorReady, Watched), String> {
    let (spawner, watched) = SelfSpawner::new(server.options.worker_args.clone());
    let config = OrchestratorConfig::new(server.options.worker().to_text())
        .with_train(server.role.kind == Kind::Train)
        .with_spawner(Arc::new(spawner));
    let limit = setup_timeout();
    let started = spawn_worker(config, logs);
    tokio::pin!(started);
    let ended = async {
        let end = watched.ended().await;
        tokio::time::sleep(LAST_MESSAGE).await;
        end
    };
    let late = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ready = &mut started => match ready {
            Ok(ready) => {
                info!(target: TARGET, "the worker is ready");
                Ok((ready, watched))
            }
            Err(error) => Err(cause_of(&error.to_string(), &watched).await),
        },
        end = ended => Err(format!("{end} before its setup was done")),
        () = late => {
            let seconds = limit.unwrap_or_default().as_secs();
            Err(format!("worker setup timed out: it took more than {seconds} seconds"))
        }
    }
}

/// Returns the text of the author's error without the names of those that passed it on. Other errors follow from the end of
/// the process, which is then the cause.
async fn cause_of(error: &str, watched: &Watched) -> String {
    const OWN: &str = "Setup failed: setup failed: ";
    if let Some(at) = error.find(OWN) {
        return error[at + OWN.len()..].to_owned();
    }
    match tokio::time::timeout(LAST_MESSAGE, watched.ended()).await {
        Ok(end) => format!("{end} before its setup was done"),
        Err(_) => error.to_owned(),
    }
}

/// A worker that the service does not cancel. coglet keeps a cancellation that comes late for the next training of the same
/// id, so [`Training`](super::training::Training) cancels it by an id of its own.
struct Uncancelled(Arc<OrchestratorHandle>);

#[async_trait]
impl Orchestrator for Uncancelled {
    async fn register_prediction(
        &self,
        slot: SlotId,
        prediction: Arc<Mutex<Prediction>>,
        idle: oneshot::Sender<SlotIdleToken>,
    ) {
        self.0.register_prediction(slot, prediction, idle).await;
    }

    async fn cancel_by_prediction_id(&self, _id: &str) -> Result<(), OrchestratorError> {
        Ok(())
    }

    async fn healthcheck(&self) -> Result<HealthcheckResult, OrchestratorError> {
        self.0.healthcheck().await
    }

    async fn shutdown(&self) -> Result<(), OrchestratorError> {
        self.0.shutdown().await
    }
}

impl Server {
    /// Makes a worker the one that takes trainings, and returns it.
    async fn take(&self, ready: OrchestratorReady, watched: Watched) -> Arc<WorkerProcess> {
        let handle = Arc::new(ready.handle);
        // The pool of slots and the process are exchanged together, so that no training gets the slot of one and the process of the other.
        let mut current = self.worker.write().await;
        let orchestrator = Arc::new(Uncancelled(Arc::clone(&handle)));
        self.service.set_orchestrator(ready.pool, orchestrator).await;
        if self.service.schema().await.is_none() {
            self.service.set_schema(self.document.clone()).await;
        }
        let process = Arc::new(WorkerProcess { handle, watched, is_used: AtomicBool::new(false) });
        *current = Some(Arc::clone(&process));
        process
    }
}
