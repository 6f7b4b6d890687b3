//! The thread that sends signs of life, and what they show.

use std::sync::TryLockError;
use std::time::Duration;

use super::Rendezvous;
use super::frame::{Frame, write_frame};
use crate::parallel::end::End;
use crate::parallel::operation::{Contradiction, Position};

/// The time between two beats.
const BEAT: Duration = Duration::from_secs(1);

impl Rendezvous {
    /// Sends signs of life, and misses those of others, until the ranks are closed.
    pub(super) fn beat(&self) {
        while !self.lock().is_closed {
            std::thread::sleep(BEAT);
            let beat = Frame::Beat(self.heartbeat.position());
            for (peer, stream) in self.peers.iter().enumerate() {
                let Some(stream) = stream else { continue };
                if self.heartbeat.misses(peer) {
                    let seconds = self.heartbeat.limit();
                    let text = format!("{} has not answered for {seconds} s", self.name(peer));
                    self.lose(peer, text);
                }
                // Whoever writes to it now sends a sign of life too.
                let mut stream = match stream.try_lock() {
                    Ok(stream) => stream,
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                    Err(TryLockError::WouldBlock) => continue,
                };
                // A rank that does not read is silent too.
                let _ = write_frame(&mut *stream, &beat);
            }
        }
    }

    /// Takes a silent rank as lost. It hears of it when it is resumed.
    fn lose(&self, peer: usize, text: String) {
        let is_new = self.set_end(peer, &End::Lost(text.clone()));
        if is_new && self.rank > 0 {
            let _ = self.send(peer, &Frame::End(peer, End::Lost(text)));
        }
    }

    /// Returns a rank with its host and its process, where they are known.
    pub(in crate::parallel) fn name(&self, rank: usize) -> String {
        match self.names.get().and_then(|names| names.get(rank)) {
            Some(name) => format!("rank {rank} ({name})"),
            None => format!("rank {rank}"),
        }
    }

    /// Compares the operations that rank 0 and another one have begun.
    pub(super) fn compare(&self, peer: usize, position: Position) {
        let contradiction = self.heartbeat.position().contradiction(position);
        if let Some(Contradiction { own, other }) = contradiction.filter(|_| self.rank == 0) {
            let text = format!(
                "{} calls `{other}` where rank 0 calls `{own}`\n\
                 hint: every rank calls the same operations in the same order",
                self.name(peer)
            );
            self.set_end(peer, &End::Failed(text));
        }
    }
}
