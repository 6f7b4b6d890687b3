//! The end of the server: trainings in progress save their state, and their clients get an answer.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::logs::TARGET;
use super::state::Server;

/// The most time in which an idle worker ends by itself.
const IDLE_WORKER: Duration = Duration::from_secs(1);

/// A longer grace period is as good as none that ends.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The moments of the end of a server.
pub(super) struct Deadlines {
    /// Trainings that have not stopped are given up.
    give_up: Instant,
    /// Webhooks that were not delivered are given up.
    webhooks: Instant,
    /// The process has ended.
    end: Instant,
}

impl Deadlines {
    pub(super) fn new(now: Instant, grace: Duration) -> Self {
        let grace = grace.min(LONGEST);
        let part = grace / 5;
        Self { give_up: now + 4 * part, webhooks: now + 19 * part / 4, end: now + grace }
    }

    /// Returns the end of a wait that takes no longer than `most`, and not beyond the end of the process.
    pub(super) fn within(&self, most: Duration) -> Instant {
        self.end.min(Instant::now() + most)
    }
}

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

/// Stops the trainings, waits for their answers and webhooks, and ends the worker.
pub(super) async fn finish(server: &Server, deadlines: &Deadlines) {
    server.stopping.cancel();
    server.tasks.close();
    if timeout_at(deadlines.give_up, server.tasks.wait()).await.is_err() {
        warn!(target: TARGET, "a training or its last webhook has not ended in time, and is given up");
        server.giving_up.cancel();
        let _ = timeout_at(deadlines.webhooks, server.tasks.wait()).await;
    }
    let Some(worker) = server.worker.write().await.take() else { return };
    if !server.giving_up.is_cancelled() {
        let _ = timeout_at(deadlines.within(IDLE_WORKER), server.service.shutdown()).await;
    }
    worker.watched.signal(Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_within_its_grace_period() {
        for seconds in [0, 1, 4, 30, 3600, u64::MAX] {
            let (now, grace) = (Instant::now(), Duration::from_secs(seconds));
            let Deadlines { give_up, webhooks, end } = Deadlines::new(now, grace);
            assert!(now <= give_up && give_up <= webhooks && webhooks <= end, "{seconds}");
            assert_eq!(end - now, grace.min(LONGEST));
            assert_eq!(Deadlines::new(now, grace).within(2 * LONGEST), end);
        }
    }
}
