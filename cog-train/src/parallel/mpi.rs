//! Ranks that `mpirun` or `srun` has started, over the MPI library that the program is linked to.

mod messages;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{
    Communicator as _, CommunicatorCollectives, Destination, MatchedReceiveVec, Source,
};

use self::messages::{Messages, Part, index, number};
use super::bytes::{filled, with_bytes};
use super::channel::{Channel, End, Patience, failure, is_waited_out, late, pause, timeout};
use super::tensors::{check_parts, size, unsupported};
use super::{Communicator, Launch};
use crate::error::Error;

/// Ranks that exchange tensors by MPI.
///
/// Tensors of `u8`, `u32`, `i64`, `bf16`, `f16`, `f32` and `f64` travel; those on a GPU are copied to the CPU and back.
/// [`Communicator::sum`] adds `bf16` and `f16` in `f32` and rounds the sum once. A tensor may have any size: what MPI cannot count in one
/// message goes in several.
///
/// An operation begins when all ranks have called it. It fails after `COG_TRAIN_RANKS_TIMEOUT` seconds (600), and at once when a rank
/// has sent the error that it ends with.
///
/// A process has one connection. It is closed by [`Mpi::close`] alone, which waits for all ranks: a process that fails ends without it,
/// and its launcher stops the others.
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    world_size: usize,
    timeout: Duration,
    /// The most bytes of a message.
    most_bytes: usize,
    /// Held during each operation: the library is called by one thread at a time.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The ends of the ranks, as far as they have arrived.
    ends: Vec<Option<End>>,
    /// Whether an operation has failed because the others did not begin it in time.
    has_waited: bool,
}

/// Dropped by [`Mpi::close`] alone: its destructor waits for all ranks.
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// MPI counts the elements of a message in 31 bits.
const MOST_BYTES: usize = 1 << 30;
/// The tag of messages by which a rank sends its end.
const END: i32 = 2;
/// The time in which an operation that all ranks have called is known to be complete.
const SETTLED: Duration = Duration::from_secs(5);

impl Mpi {
    /// Initializes the library, once in a process and before it has other threads that compute.
    ///
    /// # Errors
    ///
    /// [`Error::Ranks`] when it was initialized before, when it lets one thread alone call it, or when it counts other ranks than the
    /// launcher's variables do.
    pub fn open(launch: &Launch) -> Result<Arc<Self>, Error> {
        Self::open_with(launch, MOST_BYTES)
    }

    /// As [`Mpi::open`], with messages of at most `most_bytes`, a multiple of 8.
    #[doc(hidden)]
    pub fn open_with(launch: &Launch, most_bytes: usize) -> Result<Arc<Self>, Error> {
        let failed = |reason: String| Error::Ranks { reason };
        let mut universe = UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner);
        let (opened, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| failed("MPI was initialized before in this process".to_owned()))?;
        *universe = Some(opened);
        if threading < Threading::Serialized {
            return Err(failed(format!(
                "the MPI library supports threads as `{threading:?}`, and `Serialized` is needed"
            )));
        }
        let world = SimpleCommunicator::world();
        let (rank, world_size) = (index(world.rank()), index(world.size()));
        if (rank, world_size) != (launch.rank, launch.world_size) {
            return Err(failed(format!(
                "rank {} of {} by the variables of {}, and rank {rank} of {world_size} by MPI\n\
                 hint: start the program by the launcher of the MPI library that it is linked to; under Slurm by \
                 `srun --mpi=pmix`",
                launch.rank, launch.world_size, launch.launcher
            )));
        }
        Ok(Arc::new(Self {
            rank,
            world_size,
            timeout: timeout(),
            most_bytes,
            state: Mutex::new(State { ends: vec![None; world_size], has_waited: false }),
        }))
    }

    /// Waits for all ranks, and ends the use of MPI in this process.
    pub fn close(&self) {
        let _guard = self.lock();
        drop(UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all ranks have begun an operation: from there it needs no timeout, for each rank is in it.
    fn meet(&self) -> Result<Operation<'_>, Error> {
        let mut state = self.lock();
        let world = SimpleCommunicator::world();
        let mut request = world.immediate_barrier();
        let began = Instant::now();
        let error = loop {
            match request.test() {
                Ok(_) => {
                    let messages = Messages { world, most_bytes: self.most_bytes };
                    return Ok(Operation { messages, _guard: state });
                }
                Err(pending) => request = pending,
            }
            receive_ends(&world, &mut state.ends);
            // A rank may end behind the operation that this one still waits for.
            let over = state.ends.iter().enumerate().find_map(|(rank, end)| match end {
                Some(end) if end.is_failure() => Some(end.seen_of(rank)),
                Some(end) if began.elapsed() > SETTLED => Some(end.seen_of(rank)),
                _ => None,
            });
            if let Some(error) = over {
                state.has_waited |= is_waited_out(&state.ends);
                break error;
            }
            if began.elapsed() > self.timeout {
                state.has_waited = true;
                break late(self.timeout);
            }
            pause(began.elapsed());
        };
        // The library keeps the request, which has no buffer; the process ends without finalizing.
        std::mem::forget(request);
        Err(error)
    }
}

/// Receives the ends that other ranks have sent.
fn receive_ends(world: &SimpleCommunicator, ended: &mut [Option<End>]) {
    while let Some(message) = world.any_process().immediate_matched_probe_with_tag(END) {
        let (bytes, status) = message.matched_receive_vec::<u8>();
        ended[index(status.source_rank())] = Some(End::from_bytes(&bytes));
    }
}

/// An operation that all ranks have begun.
struct Operation<'a> {
    messages: Messages,
    _guard: MutexGuard<'a, State>,
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let operation = self.meet()?;
        let messages = &operation.messages;
        match tensor.dtype() {
            DType::U8 => messages.sum::<u8>(tensor),
            DType::U32 => messages.sum::<u32>(tensor),
            DType::I64 => messages.sum::<i64>(tensor),
            DType::F32 => messages.sum::<f32>(tensor),
            DType::F64 => messages.sum::<f64>(tensor),
            dtype @ (DType::BF16 | DType::F16) => {
                Ok(messages.sum::<f32>(&tensor.to_dtype(DType::F32)?)?.to_dtype(dtype)?)
            }
            dtype => Err(unsupported(dtype)),
        }
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error> {
        let operation = self.meet()?;
        if self.rank == root {
            let mut bytes = with_bytes(tensor, <[u8]>::to_vec)?;
            operation.messages.broadcast(&mut bytes, root);
            return Ok(tensor.clone());
        }
        filled(tensor.dtype(), tensor.shape(), tensor.device(), |bytes| {
            operation.messages.broadcast(bytes, root);
            Ok(())
        })
    }

    fn all_to_all(&self, parts: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        check_parts(parts, self.world_size)?;
        let operation = self.meet()?;
        let longest = parts.iter().map(size).max().unwrap_or_default();
        let own = &parts[self.rank];
        let mut received = vec![own.clone(); self.world_size];
        // In round `k` each rank sends to the `k`th after it.
        for round in 1..self.world_size {
            let to = (self.rank + round) % self.world_size;
            let from = (self.rank + self.world_size - round) % self.world_size;
            received[from] = filled(own.dtype(), own.shape(), own.device(), |buffer| {
                with_bytes(&parts[to], |bytes| {
                    operation.messages.exchange(&Part { to, bytes }, from, buffer, longest);
                })
            })?;
        }
        Ok(received)
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.meet()?.messages.gather(bytes))
    }

    fn agree(&self, flags: u64) -> Result<u64, Error> {
        Ok(self.meet()?.messages.agree(flags))
    }

    fn barrier(&self) -> Result<(), Error> {
        self.meet().map(drop)
    }
}

impl Channel for Mpi {
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        Communicator::gather(self, bytes)
    }

    fn failure(&self) -> Option<Error> {
        let mut state = self.lock();
        receive_ends(&SimpleCommunicator::world(), &mut state.ends);
        failure(&state.ends)
    }

    fn end(&self, own: &End, patience: Patience<'_>) -> Vec<Option<End>> {
        let mut state = self.lock();
        let own = if state.has_waited { &End::Waited } else { own };
        let world = SimpleCommunicator::world();
        let message = own.to_bytes();
        for rank in (0..self.world_size).filter(|rank| *rank != self.rank) {
            world.process_at_rank(number(rank)).send_with_tag(&message[..], END);
        }
        state.ends[self.rank] = Some(own.clone());
        let began = Instant::now();
        while state.ends.iter().any(Option::is_none) && began.elapsed() < patience(&state.ends) {
            receive_ends(&world, &mut state.ends);
            pause(began.elapsed());
        }
        state.ends.clone()
    }

    fn close(&self) {
        Self::close(self);
    }

    fn abort(&self, code: u8) -> ! {
        SimpleCommunicator::world().abort(code.into())
    }

    fn connect(
        self: Arc<Self>,
        #[cfg_attr(not(feature = "nccl"), expect(unused_variables))] device: &Device,
    ) -> Result<Arc<dyn Communicator>, Error> {
        #[cfg(feature = "nccl")]
        if let Device::Cuda(device) = device {
            let (rank, world_size) = (self.rank, self.world_size);
            return Ok(Arc::new(super::Nccl::open(self, rank, world_size, device)?));
        }
        Ok(self)
    }
}
