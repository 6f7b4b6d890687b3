//! Signs of life between ranks.
//!
//! Each rank sends a beat every second, from a thread that does nothing else, and counts its own beats since it has heard of another one. A
//! rank that computes for long beats all the while; one that is stopped, or whose machine is gone, does not. A process counts beats and
//! not the clock: when all ranks are stopped together and resumed (a suspended job, a sleeping machine), none is missed.

use std::io::Read;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::parallel::operation::{Operation, Position};

/// The signs of life of the other ranks, and the position of this one.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// The beats of this rank after which a silent rank is lost; `None` if it never is.
    limit: Option<u32>,
    /// The beats of this rank since it has heard of each other one.
    missed: Vec<AtomicU32>,
    position: AtomicU64,
}

impl Heartbeat {
    pub(super) fn new(world_size: usize, limit: Option<Duration>) -> Self {
        let beats = |limit: Duration| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
        Self {
            limit: limit.map(beats),
            missed: (0..world_size).map(|_| AtomicU32::new(0)).collect(),
            position: AtomicU64::new(Position::default().bits()),
        }
    }

    /// Returns the seconds after which a rank is lost.
    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(u32::MAX)
    }

    /// Counts a beat of this rank. Returns whether `peer` has been silent for as many as it may.
    pub(super) fn misses(&self, peer: usize) -> bool {
        let missed = self.missed[peer].fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.limit.is_some_and(|limit| missed > limit)
    }

    /// Returns a stream whose every byte is a sign of life of `peer`.
    pub(super) fn hear<R: Read>(&self, peer: usize, stream: R) -> Heard<'_, R> {
        Heard { stream, missed: &self.missed[peer] }
    }

    /// Returns the operation that this rank has begun last.
    pub(super) fn position(&self) -> Position {
        Position::from_bits(self.position.load(Ordering::Relaxed))
    }

    /// Begins an operation; one thread at a time does.
    #[cfg_attr(
        not(any(feature = "mpi", feature = "nccl")),
        expect(dead_code, reason = "no transport")
    )]
    pub(super) fn begin(&self, operation: Operation) {
        self.position.store(self.position().next(operation).bits(), Ordering::Relaxed);
    }
}

/// The stream of a rank.
pub(super) struct Heard<'a, R> {
    stream: R,
    missed: &'a AtomicU32,
}

impl<R: Read> Read for Heard<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stream.read(bytes)?;
        self.missed.store(0, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_lost_after_its_limit_of_silence_and_each_byte_is_a_sign_of_life() {
        let heartbeat = Heartbeat::new(2, Some(Duration::from_secs(3)));
        let misses = || (0..4).map(|_| heartbeat.misses(1)).collect::<Vec<_>>();
        assert_eq!(misses(), [false, false, false, true]);
        heartbeat.hear(1, &b"slow"[..]).read_exact(&mut [0; 2]).unwrap();
        assert_eq!(misses(), [false, false, false, true]);
    }

    #[test]
    fn without_a_limit_no_rank_is_lost() {
        let heartbeat = Heartbeat::new(2, None);
        assert!((0..1000).all(|_| !heartbeat.misses(1)));
    }
}
