//! The end of a process whose training cannot end by itself.
//!
//! When a rank is lost, an operation that the others have begun with it never ends, and a rank that computes may do so for long. Each has a
//! thread that gives the training a while to see the failure itself, and then ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Launch;
use super::end::{End, errors};
use super::rendezvous::Rendezvous;
use crate::error::Error;

/// The time in which a training sees that another rank is lost: each of its operations does.
const LOST: Duration = Duration::from_secs(3);
/// The time in which it sees that another rank has failed, which may be in the middle of its own work.
const FAILED: Duration = Duration::from_secs(15);
/// The time that other ranks give rank 0 to print the errors and to end all.
const FOLLOWER: Duration = Duration::from_secs(4);
/// The time in which a training that reports the errors itself has done so.
const REPORT: Duration = Duration::from_secs(4);
/// The time that the first rank of another machine gives rank 1.
const TURN: Duration = Duration::from_secs(2);

/// The right to report the errors of all ranks, which the training or the guard takes once.
#[derive(Debug, Clone, Default)]
pub(super) struct Report(Arc<AtomicBool>);

impl Report {
    /// Returns whether the caller reports the errors.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

/// Spawns the thread that waits for a failure. `exit` prints errors, if there are any, and ends the process.
pub(super) fn spawn(
    launch: Launch,
    rendezvous: Arc<Rendezvous>,
    report: Report,
    exit: impl FnOnce(&[String]) + Send + 'static,
) -> Result<(), Error> {
    let guard = move || {
        let Some(ends) = rendezvous.await_failure() else { return };
        let is_lost = ends.iter().flatten().any(|end| matches!(end, End::Lost(_)));
        std::thread::sleep(if is_lost { LOST } else { FAILED });
        let ends = rendezvous.ends();
        let Some(turn) = turn(&launch, &ends) else {
            std::thread::sleep(FOLLOWER);
            return exit(&[]);
        };
        std::thread::sleep(turn);
        if report.take() {
            let errors = errors(&ends);
            // The others do not take the closed connection for another cause.
            rendezvous.announce(&End::Failed(errors.first().cloned().unwrap_or_default()));
            exit(&errors);
        } else {
            std::thread::sleep(REPORT);
            exit(&[]);
        }
    };
    let spawned = std::thread::Builder::new().name("guard".to_owned()).spawn(guard);
    spawned.map(drop).map_err(|source| Error::Thread { task: "guards the training", source })
}

/// Returns the time after which this rank prints the errors: rank 0, or the one after it when rank 0 is lost. The first rank of another
/// machine does too, unless it is ended before.
pub(super) fn turn(launch: &Launch, ends: &[Option<End>]) -> Option<Duration> {
    let is_lost = |rank: usize| matches!(ends.get(rank), Some(Some(End::Lost(_))));
    match launch.rank {
        // The others have ended without it.
        rank if is_lost(rank) => None,
        0 => Some(Duration::ZERO),
        _ if !is_lost(0) => None,
        1 => Some(Duration::ZERO),
        _ => (launch.local_rank == 0).then_some(TURN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Launcher;

    #[test]
    fn errors_are_printed_by_rank_0_or_the_next_one_on_each_machine() {
        let launch = |rank, local_rank| Launch {
            launcher: Launcher::OpenMpi,
            rank,
            world_size: 4,
            local_rank,
            host: None,
            port: None,
        };
        let lost = |rank: usize| {
            let mut ends = vec![None; 4];
            ends[rank] = Some(End::Lost(format!("rank {rank} has not answered for 15 s")));
            ends
        };
        let turns = |ends: &[Option<End>]| {
            [launch(0, 0), launch(1, 1), launch(2, 0), launch(3, 1)].map(|it| turn(&it, ends))
        };
        assert_eq!(turns(&lost(2)), [Some(Duration::ZERO), None, None, None]);
        assert_eq!(turns(&lost(0)), [None, Some(Duration::ZERO), Some(TURN), None]);
    }
}
