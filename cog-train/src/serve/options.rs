//! The settings of a server: its flags, and the variables that Cog reads.

use std::path::PathBuf;
use std::time::Duration;

use super::worker::WorkerOptions;
use crate::run::Kind;

/// The port where `PORT` and `--port` name none.
const PORT: u16 = 5000;
/// The time for which a training may save its state when the server ends.
const GRACE: Duration = Duration::from_secs(30);

/// The settings of a server.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// The arguments of this executable that make a process a worker.
    pub(crate) worker_args: Vec<&'static str>,
    pub(crate) host: String,
    /// Further names of the server, for web pages.
    pub(crate) allow_hosts: Vec<String>,
    pub(crate) port: Option<u16>,
    pub(crate) upload_url: Option<String>,
    /// SIGTERM is ignored: only `POST /shutdown` and SIGINT end the server.
    pub(crate) await_explicit_shutdown: bool,
    /// Whether inputs may name files of this machine and hosts of its network.
    pub(crate) allow_local: bool,
    pub(crate) device: Option<String>,
    pub(crate) config: Option<PathBuf>,
    /// The time between a signal and the end of the process.
    pub(crate) grace: Option<Duration>,
}

impl Options {
    /// The port: `--port`, else the variable `PORT`, else 5000.
    pub(super) fn port(&self) -> u16 {
        self.port.or_else(|| variable("PORT")).unwrap_or(PORT)
    }

    pub(super) fn grace(&self) -> Duration {
        self.grace.unwrap_or(GRACE)
    }

    /// Returns the settings of a worker.
    pub(super) fn worker(&self) -> WorkerOptions {
        WorkerOptions::new(
            self.kind,
            self.device.clone(),
            self.config.clone(),
            self.upload_url.clone(),
            self.allow_local,
        )
    }
}

/// Returns the time that `setup` may take, from `COG_SETUP_TIMEOUT` in whole seconds. Zero and what is no number are ignored.
pub(super) fn setup_timeout() -> Option<Duration> {
    variable::<u64>("COG_SETUP_TIMEOUT").filter(|it| *it > 0).map(Duration::from_secs)
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
