//! The process that listens: its start and its end.

use std::sync::Arc;
use std::time::Duration;

use coglet::{Health, PredictionService};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::error::ServeError;
use super::history::Unkept;
use super::listen::{Limits, listen};
use super::logs::{self, TARGET};
use super::options::Options;
use super::shutdown::Deadlines;
use super::state::Server;
use super::training::FOLDER;
use super::{routes, shutdown, supervisor};
use crate::partial;
use crate::run::Role;

/// The threads of the server. It computes nothing.
const THREADS: usize = 2;
/// The most time in which the last answers are written.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves a role until a signal or `POST /shutdown`. `document` is the OpenAPI document.
///
/// # Errors
///
/// When the address cannot be listened on.
pub(crate) fn serve(role: &Role, mut document: Value, options: Options) -> Result<(), ServeError> {
    document.sort_all_objects();
    let server = Arc::new(Server {
        role: *role,
        options,
        document,
        service: Arc::new(PredictionService::new_no_pool().with_health(Health::Starting)),
        worker: RwLock::default(),
        tasks: TaskTracker::new(),
        unkept: Unkept::default(),
        stopping: CancellationToken::new(),
        giving_up: CancellationToken::new(),
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let ended = runtime.block_on(run(server));
    runtime.shutdown_background();
    ended
}

async fn run(server: Arc<Server>) -> Result<(), ServeError> {
    coglet::install_crypto_provider();
    let logs = logs::start();
    let (host, port) = (server.options.host.as_str(), server.options.port());
    let listener = TcpListener::bind((host, port))
        .await
        .map_err(|source| ServeError::Listen { address: format!("{host}:{port}"), source })?;
    info!(target: TARGET, "listening on {}", listener.local_addr()?);
    tokio::task::spawn_blocking(|| partial::sweep(&std::env::temp_dir(), FOLDER));
    let signals = shutdown::Signals::listen(server.options.await_explicit_shutdown)?;
    let supervisor = tokio::spawn(supervisor::supervise(Arc::clone(&server), logs));
    let stop = CancellationToken::new();
    let router = routes::router(Arc::clone(&server));
    let connections = tokio::spawn(listen(listener, router, Limits::default(), stop.clone()));

    signals.requested(server.service.shutdown_rx()).await;
    // No new work from here on.
    let deadlines = Deadlines::new(Instant::now(), server.options.grace());
    stop.cancel();
    supervisor.abort();
    shutdown::finish(&server, &deadlines).await;
    drop(timeout_at(deadlines.within(LAST_ANSWERS), connections).await);
    info!(target: TARGET, "the server has ended");
    Ok(())
}
