//! Ranks that reach each other through a TCP port of rank 0.
//!
//! It carries bytes that all ranks agree on, and their ends. Tensors do not travel on it.

mod frame;
mod meeting;

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::Device;

use self::frame::{Frame, read_frame, write_frame};
use self::meeting::{accept, connect};
use super::channel::{Channel, End, Patience, failure, is_waited_out, late, timeout};
use super::{Communicator, Launch};
use crate::error::{Error, plain_io};

/// The connections of this rank: rank 0 to all others, another rank to rank 0.
#[derive(Debug)]
pub(super) struct Rendezvous {
    rank: usize,
    timeout: Duration,
    /// By rank; `None` where this rank has no connection.
    peers: Vec<Option<Mutex<TcpStream>>>,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State {
    /// The bytes that have arrived from each rank, oldest first.
    received: Vec<VecDeque<Vec<u8>>>,
    ends: Vec<Option<End>>,
    has_waited: bool,
}

impl Rendezvous {
    /// Connects the ranks. Rank 0 listens on the port after `MASTER_PORT`, on which an agent of torchrun may listen itself.
    pub(super) fn open(launch: &Launch) -> Result<Arc<Self>, Error> {
        let missing = |name: &str| Error::Ranks {
            reason: format!(
                "{} has started {} processes, and `{name}` is not set\n\
                 hint: set `MASTER_ADDR` to the machine of rank 0, and `MASTER_PORT` to a free port there",
                launch.launcher, launch.world_size
            ),
        };
        let host = launch.host.as_deref().ok_or_else(|| missing("MASTER_ADDR"))?;
        let port = launch.port.ok_or_else(|| missing("MASTER_PORT"))?.saturating_add(1);
        let Launch { rank, world_size, .. } = *launch;
        let timeout = timeout();
        let streams = if rank == 0 {
            let listener = TcpListener::bind(("0.0.0.0", port)).map_err(|error| Error::Ranks {
                reason: format!(
                    "rank 0 cannot listen on port {port}, the one after `MASTER_PORT`: {}",
                    plain_io(&error)
                ),
            })?;
            accept(&listener, world_size, timeout)?
        } else {
            let mut streams: Vec<_> = (0..world_size).map(|_| None).collect();
            streams[0] = Some(connect(host, port, rank, world_size, timeout)?);
            streams
        };
        Self::start(rank, streams, timeout)
    }

    /// Spawns a thread that reads for each connection.
    fn start(
        rank: usize,
        streams: Vec<Option<TcpStream>>,
        timeout: Duration,
    ) -> Result<Arc<Self>, Error> {
        let world_size = streams.len();
        let state = State {
            received: vec![VecDeque::new(); world_size],
            ends: vec![None; world_size],
            has_waited: false,
        };
        let mut readers = Vec::new();
        for (peer, stream) in streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            readers.push((peer, stream.try_clone().map_err(|error| lost(peer, &error))?));
        }
        let peers = streams.into_iter().map(|stream| stream.map(Mutex::new)).collect();
        let (state, arrived) = (Mutex::new(state), Condvar::new());
        let own = Arc::new(Self { rank, timeout, peers, state, arrived });
        for (peer, mut stream) in readers {
            let this = Arc::clone(&own);
            let read = move || while this.take(peer, read_frame(&mut stream)) {};
            std::thread::Builder::new()
                .name(format!("rank {peer}"))
                .spawn(read)
                .map_err(|source| Error::Thread { task: "reads from a rank", source })?;
        }
        Ok(own)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame that has arrived from `peer`. Returns whether there may be more.
    fn take(&self, peer: usize, frame: std::io::Result<Frame>) -> bool {
        let mut state = self.lock();
        let (relayed, goes_on) = match frame {
            Ok(Frame::Bytes(bytes)) => {
                state.received[peer].push_back(bytes);
                (None, true)
            }
            // Rank 0 sends the ends of other ranks too.
            Ok(Frame::End(of, end)) if of < state.ends.len() => {
                let is_new = state.ends[of].is_none();
                state.ends[of].get_or_insert(end.clone());
                (is_new.then_some((of, end)), true)
            }
            Ok(Frame::End(..)) | Err(_) if state.ends[peer].is_none() => {
                let end = End::Failed("its connection is lost".to_owned());
                state.ends[peer] = Some(end.clone());
                (Some((peer, end)), false)
            }
            Ok(Frame::End(..)) | Err(_) => (None, false),
        };
        drop(state);
        self.arrived.notify_all();
        if let (Some((of, end)), 0) = (relayed, self.rank) {
            for other in (1..self.peers.len()).filter(|other| *other != of) {
                // The others see a lost connection themselves.
                let _ = self.send(other, &Frame::End(of, end.clone()));
            }
        }
        goes_on
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
            if let Some(error) = failure(&state.ends) {
                state.has_waited |= is_waited_out(&state.ends);
                return Err(error);
            }
            if let Some(end) = &state.ends[peer] {
                return Err(end.seen_of(peer));
            }
            let Some(left) = self.timeout.checked_sub(began.elapsed()) else {
                state.has_waited = true;
                return Err(late(self.timeout));
            };
            let woken = self.arrived.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Channel for Rendezvous {
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
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

    fn failure(&self) -> Option<Error> {
        failure(&self.lock().ends)
    }

    fn end(&self, own: &End, patience: Patience<'_>) -> Vec<Option<End>> {
        let own = {
            let mut state = self.lock();
            let own = if state.has_waited { End::Waited } else { own.clone() };
            state.ends[self.rank] = Some(own.clone());
            own
        };
        for peer in 0..self.peers.len() {
            // A rank that is lost has an end already.
            let _ = self.send(peer, &Frame::End(self.rank, own.clone()));
        }
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

    fn close(&self) {}

    fn abort(&self, code: u8) -> ! {
        // The others see the lost connection, and the launcher the code.
        std::process::exit(code.into())
    }

    fn connect(self: Arc<Self>, device: &Device) -> Result<Arc<dyn Communicator>, Error> {
        #[cfg(feature = "nccl")]
        if let Device::Cuda(device) = device {
            let (rank, world_size) = (self.rank, self.peers.len());
            return Ok(Arc::new(super::Nccl::open(self, rank, world_size, device)?));
        }
        let hint = if device.is_cuda() {
            "build it with the feature `nccl`"
        } else {
            "start ranks on the CPU by `mpirun` or `srun`, and build the program with the feature `mpi`"
        };
        Err(Error::Ranks {
            reason: format!(
                "no transport between {} ranks on this device\nhint: {hint}",
                self.peers.len()
            ),
        })
    }
}

fn lost(rank: usize, error: &std::io::Error) -> Error {
    Error::Ranks { reason: format!("rank {rank}: its connection is lost: {}", plain_io(error)) }
}

#[cfg(test)]
mod tests;
