//! The end of the server: trainings in progress save their state, and their clients get an answer.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use super::logs::TARGET;
use super::state::Server;

/// The part of the grace period that is left for answers and webhooks once trainings are given up.
const FOR_WEBHOOKS: u32 = 5;
/// The time in which an idle worker ends by itself.
const IDLE_WORKER: Duration = Duration::from_secs(1);

/// The signals that end the server.
pub(super) struct Signals {
    interrupt: Listener,
    terminate: Listener,
    /// SIGTERM is ignored.
    explicit: bool,
}

impl Signals {
    pub(super) fn listen(explicit: bool) -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            explicit,
        })
    }

    /// Waits until the server is to end.
    pub(super) async fn requested(mut self, mut by_http: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return info!(target: TARGET, "SIGINT: the server ends"),
                _ = self.terminate.recv() => {
                    if !self.explicit {
                        return info!(target: TARGET, "SIGTERM: the server ends");
                    }
                    info!(target: TARGET, "SIGTERM is ignored: the server awaits `POST /shutdown`");
                }
                _ = by_http.wait_for(|stop| *stop) => {
                    return info!(target: TARGET, "`POST /shutdown`: the server ends");
                }
            }
        }
    }
}

/// Stops the trainings, waits for their answers and webhooks, and ends the worker. It takes no longer than the grace period.
pub(super) async fn finish(server: &Server) {
    let grace = server.options.grace();
    let for_webhooks = grace / FOR_WEBHOOKS;
    server.stopping.cancel();
    server.tasks.close();
    if tokio::time::timeout(grace.saturating_sub(for_webhooks), server.tasks.wait()).await.is_err()
    {
        warn!(target: TARGET, "a training or its last webhook has not ended in time, and is given up");
        server.giving_up.cancel();
        let _ = tokio::time::timeout(for_webhooks, server.tasks.wait()).await;
    }
    let Some(worker) = server.worker.write().await.take() else { return };
    if !server.giving_up.is_cancelled() {
        let _ = tokio::time::timeout(IDLE_WORKER, server.service.shutdown()).await;
    }
    worker.watched.signal(Signal::SIGKILL);
}
