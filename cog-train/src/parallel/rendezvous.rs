//! Ranks that reach each other through a TCP port of rank 0.
//!
//! It carries bytes that all ranks agree on, their signs of life, and their ends. Tensors do not travel on it.

mod beat;
mod frame;
mod heartbeat;
mod meeting;
mod open;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use self::frame::{Frame, read_frame, write_frame};
use self::heartbeat::Heartbeat;
use super::end::{End, failure, is_waited_out};
#[cfg(any(feature = "mpi", feature = "nccl"))]
use super::operation::Operation;
use super::wait::late;
use crate::error::{Error, plain_io};

/// The connections of this rank: rank 0 to all others, another rank to rank 0.
#[derive(Debug)]
pub(super) struct Rendezvous {
    rank: usize,
    timeout: Duration,
    /// By rank; `None` where this rank has no connection.
    peers: Vec<Option<Mutex<TcpStream>>>,
    /// The host and the process of each rank, once all have sent theirs.
    names: OnceLock<Vec<String>>,
    heartbeat: Heartbeat,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State {
    /// The bytes that have arrived from each rank, oldest first.
    received: Vec<VecDeque<Vec<u8>>>,
    ends: Vec<Option<End>>,
    has_waited: bool,
    /// Whether the training has ended well on all ranks.
    is_closed: bool,
}

/// The longest wait for the ends of all ranks, by those that are known.
pub(super) type Patience<'a> = &'a dyn Fn(&[Option<End>]) -> Duration;

/// The time after which a rank has seen all that another one sent before its end.
const SETTLED: Duration = Duration::from_secs(5);
/// The time in which a connection takes a message: its other side has a thread that reads.
const WRITE: Duration = Duration::from_secs(10);

impl Rendezvous {
    /// Spawns a thread that reads for each connection, and one that sends signs of life.
    fn start(
        rank: usize,
        streams: Vec<Option<TcpStream>>,
        timeout: Duration,
        silence: Option<Duration>,
    ) -> Result<Arc<Self>, Error> {
        let world_size = streams.len();
        let state = State {
            received: vec![VecDeque::new(); world_size],
            ends: vec![None; world_size],
            has_waited: false,
            is_closed: false,
        };
        let mut readers = Vec::new();
        for (peer, stream) in streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            let reader = stream.set_write_timeout(Some(WRITE)).and_then(|()| stream.try_clone());
            readers.push((peer, reader.map_err(|error| lost(peer, &error))?));
        }
        let own = Arc::new(Self {
            rank,
            timeout,
            peers: streams.into_iter().map(|stream| stream.map(Mutex::new)).collect(),
            names: OnceLock::new(),
            heartbeat: Heartbeat::new(world_size, silence),
            state: Mutex::new(state),
            arrived: Condvar::new(),
        });
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            let spawned = std::thread::Builder::new().name(name).spawn(work);
            spawned.map_err(|source| Error::Thread { task: "hears of other ranks", source })
        };
        for (peer, stream) in readers {
            let this = Arc::clone(&own);
            let read = move || {
                let mut stream = this.heartbeat.hear(peer, stream);
                while this.take(peer, read_frame(&mut stream)) {}
            };
            spawn(format!("rank {peer}"), Box::new(read))?;
        }
        let this = Arc::clone(&own);
        spawn("heartbeat".to_owned(), Box::new(move || this.beat()))?;
        Ok(own)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame that has arrived from `peer`. Returns whether there may be more.
    fn take(&self, peer: usize, frame: std::io::Result<Frame>) -> bool {
        match frame {
            Ok(Frame::Bytes(bytes)) => {
                self.lock().received[peer].push_back(bytes);
                self.arrived.notify_all();
            }
            Ok(Frame::Beat(position)) => self.compare(peer, position),
            // Rank 0 sends the ends of other ranks too.
            Ok(Frame::End(of, end)) if of < self.peers.len() => {
                self.set_end(of, &end);
            }
            Ok(Frame::End(..)) | Err(_) => {
                if self.lock().ends[peer].is_none() {
                    let text = format!("{} is gone: its connection is closed", self.name(peer));
                    self.set_end(peer, &End::Lost(text));
                }
                return false;
            }
        }
        true
    }

    /// Takes the end of a rank; rank 0 sends it to the others. Returns whether it was not known.
    fn set_end(&self, of: usize, end: &End) -> bool {
        let mut state = self.lock();
        let is_new = match &state.ends[of] {
            None => true,
            // It has ended its training and was waiting for the others.
            Some(known) => matches!(end, End::Lost(_)) && !known.is_failure(),
        };
        if is_new {
            state.ends[of] = Some(end.clone());
        }
        drop(state);
        self.arrived.notify_all();
        if is_new && self.rank == 0 {
            for peer in 1..self.peers.len() {
                // The others see a lost connection themselves.
                let _ = self.send(peer, &Frame::End(of, end.clone()));
            }
        }
        is_new
    }

    fn send(&self, peer: usize, frame: &Frame) -> Result<(), Error> {
        let Some(stream) = self.peers.get(peer).and_then(Option::as_ref) else { return Ok(()) };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        write_frame(&mut *stream, frame).map_err(|error| lost(peer, &error))
    }

    /// Waits for the next bytes of `peer`.
    fn receive(&self, peer: usize) -> Result<Vec<u8>, Error> {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(bytes) = state.received[peer].pop_front() {
                return Ok(bytes);
            }
            if let Some(end) = &state.ends[peer] {
                return Err(failure(&state.ends).unwrap_or_else(|| end.seen_of(peer)));
            }
            if let Some(error) = self.hopeless(&mut state, began.elapsed()) {
                return Err(error);
            }
            let left = self.timeout.saturating_sub(began.elapsed()).min(SETTLED);
            let woken = self.arrived.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the reason for which a rank that has waited for all others waits no longer.
    fn hopeless(&self, state: &mut State, waited: Duration) -> Option<Error> {
        if let Some(error) = failure(&state.ends) {
            state.has_waited |= is_waited_out(&state.ends);
            return Some(error);
        }
        // A rank may end behind the operation that this one still waits for.
        let mut others = state.ends.iter().enumerate().filter(|(rank, _)| *rank != self.rank);
        if waited > SETTLED
            && let Some(error) =
                others.find_map(|(rank, end)| end.as_ref().map(|end| end.seen_of(rank)))
        {
            return Some(error);
        }
        (waited > self.timeout).then(|| {
            state.has_waited = true;
            late(self.timeout)
        })
    }

    /// Begins an operation between the ranks, in whatever transport.
    #[cfg(any(feature = "mpi", feature = "nccl"))]
    pub(super) fn begin(&self, operation: Operation) {
        self.heartbeat.begin(operation);
    }

    /// Checks whether a rank that has waited in an operation for `waited` may go on.
    #[cfg(any(feature = "mpi", feature = "nccl"))]
    pub(super) fn check(&self, waited: Duration) -> Result<(), Error> {
        self.hopeless(&mut self.lock(), waited).map_or(Ok(()), Err)
    }

    /// Returns the bytes of all ranks, in the order of ranks.
    pub(super) fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let others = 1..self.peers.len();
        if self.rank > 0 {
            self.send(0, &Frame::Bytes(bytes.to_vec()))?;
            return (0..self.peers.len()).map(|_| self.receive(0)).collect();
        }
        let mut gathered = vec![bytes.to_vec()];
        for rank in others.clone() {
            gathered.push(self.receive(rank)?);
        }
        for rank in others {
            for bytes in &gathered {
                self.send(rank, &Frame::Bytes(bytes.clone()))?;
            }
        }
        Ok(gathered)
    }

    /// Sends the end of this rank to all others, and waits for theirs, as long as `patience` says of those that are known. Returns `None`
    /// for a rank that did not send it in time.
    pub(super) fn end(&self, own: &End, patience: Patience<'_>) -> Vec<Option<End>> {
        self.announce(own);
        let began = Instant::now();
        let mut state = self.lock();
        while state.ends.iter().any(Option::is_none)
            && let Some(left) = patience(&state.ends).checked_sub(began.elapsed())
        {
            let woken = self.arrived.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ends.clone()
    }

    /// Sends the end of this rank to all others.
    pub(super) fn announce(&self, own: &End) {
        let mut state = self.lock();
        let own = if state.has_waited { &End::Waited } else { own };
        // A rank that the others have lost stays lost.
        let own = state.ends[self.rank].get_or_insert_with(|| own.clone()).clone();
        drop(state);
        for peer in 0..self.peers.len() {
            // A rank that is lost has an end already.
            let _ = self.send(peer, &Frame::End(self.rank, own.clone()));
        }
    }

    /// Waits until a rank has failed or is lost, and returns the ends that are known; `None` when all have ended well.
    pub(super) fn await_failure(&self) -> Option<Vec<Option<End>>> {
        let mut state = self.lock();
        while !state.is_closed && failure(&state.ends).is_none() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.is_closed).then(|| state.ends.clone())
    }

    /// Returns the ends that are known.
    pub(super) fn ends(&self) -> Vec<Option<End>> {
        self.lock().ends.clone()
    }

    /// Ends the signs of life: all ranks have ended well.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
    }

    #[cfg(feature = "nccl")]
    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    #[cfg(feature = "nccl")]
    pub(super) fn world_size(&self) -> usize {
        self.peers.len()
    }
}

fn lost(rank: usize, error: &std::io::Error) -> Error {
    Error::Ranks { reason: format!("rank {rank}: its connection is lost: {}", plain_io(error)) }
}

#[cfg(test)]
mod tests;
