//! The times for which a rank waits for the others.

use std::time::Duration;

use crate::error::Error;

/// Returns the time after which an operation that not all ranks have begun fails: `COG_TRAIN_RANKS_TIMEOUT` in seconds.
pub(super) fn timeout() -> Duration {
    const DEFAULT: Duration = Duration::from_mins(10);
    seconds("COG_TRAIN_RANKS_TIMEOUT").unwrap_or(DEFAULT)
}

/// Returns the time after which a rank that does not answer is lost: `COG_TRAIN_RANKS_HEARTBEAT` in seconds; `None` for 0, by which a
/// rank may be stopped in a debugger.
pub(super) fn heartbeat() -> Option<Duration> {
    const DEFAULT: Duration = Duration::from_secs(15);
    Some(seconds("COG_TRAIN_RANKS_HEARTBEAT").unwrap_or(DEFAULT)).filter(|time| !time.is_zero())
}

fn seconds(variable: &str) -> Option<Duration> {
    let text = std::env::var(variable).ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Returns the error of a rank that has waited for the others as long as it may.
pub(super) fn late(timeout: Duration) -> Error {
    Error::Ranks { reason: format!("the other ranks have not come in {} s", timeout.as_secs()) }
}

/// Lets other threads run while a rank waits: it polls often at first, for most waits are short.
#[cfg(any(feature = "mpi", feature = "nccl"))]
pub(super) fn pause(waited: Duration) {
    if waited < Duration::from_millis(2) {
        std::thread::yield_now();
    } else {
        std::thread::sleep((waited / 20).min(Duration::from_millis(2)));
    }
}
