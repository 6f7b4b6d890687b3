//! The path between ranks on which they agree before a training and after it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;

use super::Communicator;
use crate::error::Error;

/// Connects the processes of a training, before they have a device.
pub(super) trait Channel: fmt::Debug + Send + Sync {
    /// Returns the bytes of all ranks, in the order of ranks.
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error>;

    /// Returns the error of another rank that has failed, where it has arrived. It waits for nothing.
    #[cfg_attr(not(feature = "nccl"), expect(dead_code, reason = "NCCL's operations need it"))]
    fn failure(&self) -> Option<Error>;

    /// Sends the end of this rank to all others, and waits for theirs, as long as `patience` says of those that are known. Returns `None`
    /// for a rank that did not send it in time.
    fn end(&self, own: &End, patience: Patience<'_>) -> Vec<Option<End>>;

    /// Closes the path: all ranks have ended.
    fn close(&self);

    /// Ends the processes of all ranks, this one included.
    fn abort(&self, code: u8) -> !;

    /// Returns the operations between the ranks on a device.
    fn connect(self: Arc<Self>, device: &Device) -> Result<Arc<dyn Communicator>, Error>;
}

/// The longest wait for the ends of all ranks, by those that are known.
pub(super) type Patience<'a> = &'a dyn Fn(&[Option<End>]) -> Duration;

/// The end of a rank's training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Cancelled,
    /// The rank's error.
    Failed(String),
    /// The error with which rank 0 refuses the run, for all ranks.
    Refused(String),
    /// The rank has waited for the others as long as it may.
    Waited,
}

/// The most bytes of an error that travel: MPI sends a short message without waiting for its receiver.
const MOST: usize = 2048;

impl End {
    /// Whether the other ranks cannot end well either.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Refused(_) | Self::Waited)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (tag, text) = match self {
            Self::Succeeded => (b's', ""),
            Self::Cancelled => (b'c', ""),
            Self::Waited => (b'w', ""),
            Self::Failed(text) => (b'f', &text[..text.floor_char_boundary(MOST)]),
            Self::Refused(text) => (b'r', &text[..text.floor_char_boundary(MOST)]),
        };
        [&[tag], text.as_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((b's', _)) => Self::Succeeded,
            Some((b'c', _)) => Self::Cancelled,
            Some((b'w', _)) => Self::Waited,
            Some((b'r', text)) => Self::Refused(String::from_utf8_lossy(text).into_owned()),
            Some((_, text)) => Self::Failed(String::from_utf8_lossy(text).into_owned()),
            None => Self::Failed("it sent no cause".to_owned()),
        }
    }

    /// The error of a rank that waits for `rank`, which has ended.
    pub(super) fn seen_of(&self, rank: usize) -> Error {
        let reason = match self {
            Self::Failed(text) | Self::Refused(text) => of_rank(rank, text),
            Self::Cancelled => format!("rank {rank}: cancelled"),
            Self::Waited => format!("rank {rank}: it waits no longer for the others"),
            Self::Succeeded => format!("rank {rank}: its training ended before that of the others"),
        };
        Error::Ranks { reason }
    }
}

/// Returns an error with its rank: itself where it names the rank that it is about.
pub(super) fn of_rank(rank: usize, text: &str) -> String {
    let named = text.strip_prefix("rank ").and_then(|rest| rest.split_once(": "));
    match named {
        Some((number, _)) if number.parse::<usize>().is_ok() => text.to_owned(),
        _ => format!("rank {rank}: {text}"),
    }
}

/// Returns the error of a rank that has failed.
pub(super) fn failure(ends: &[Option<End>]) -> Option<Error> {
    ends.iter().enumerate().find_map(|(rank, end)| {
        end.as_ref().filter(|end| end.is_failure()).map(|end| end.seen_of(rank))
    })
}

/// Whether ranks have waited for others too long, and none has failed: who waits with them ends for the same cause.
pub(super) fn is_waited_out(ends: &[Option<End>]) -> bool {
    let mut failures = ends.iter().flatten().filter(|end| end.is_failure()).peekable();
    failures.peek().is_some() && failures.all(|end| *end == End::Waited)
}

/// Returns the time after which an operation that not all ranks have begun fails: `COG_TRAIN_RANKS_TIMEOUT` in seconds.
pub(super) fn timeout() -> Duration {
    const DEFAULT: Duration = Duration::from_mins(10);
    std::env::var("COG_TRAIN_RANKS_TIMEOUT")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .map_or(DEFAULT, Duration::from_secs)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_the_rank_that_it_is_about() {
        assert_eq!(of_rank(3, "no such file"), "rank 3: no such file");
        assert_eq!(of_rank(3, "rank 1: no such file"), "rank 1: no such file");
        assert_eq!(of_rank(3, "rank x: no"), "rank 3: rank x: no");
    }

    #[test]
    fn an_end_is_the_same_after_its_bytes() {
        let text = || "device `cuda:1`: none".to_owned();
        let failed = [End::Failed(text()), End::Refused(text())];
        for end in [End::Succeeded, End::Cancelled, End::Waited].into_iter().chain(failed) {
            assert_eq!(End::from_bytes(&end.to_bytes()), end);
        }
        let long = End::Failed("é".repeat(MOST));
        let End::Failed(text) = End::from_bytes(&long.to_bytes()) else { panic!() };
        assert_eq!(text, "é".repeat(MOST / 2));
    }
}
