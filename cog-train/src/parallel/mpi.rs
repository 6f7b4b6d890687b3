//! Ranks that `mpirun` or `srun` has started, over the MPI library that the program is linked to.

mod messages;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use candle_core::{DType, Tensor};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives};

use self::messages::{Messages, Part, index};
use super::bytes::{filled, with_bytes};
use super::operation::Operation;
use super::rendezvous::Rendezvous;
use super::tensors::{check_parts, size, unsupported};
use super::wait::pause;
use super::{Communicator, Launch};
use crate::error::Error;

/// Ranks that exchange tensors by MPI.
///
/// Tensors of `u8`, `u32`, `i64`, `bf16`, `f16`, `f32` and `f64` travel; those on a GPU are copied to the CPU and back.
/// [`Communicator::sum`] adds `bf16` and `f16` in `f32` and rounds the sum once. A tensor may have any size: what MPI cannot count in one
/// message goes in several.
///
/// An operation begins when all ranks have called it. It fails after `COG_TRAIN_RANKS_TIMEOUT` seconds (600), and at once when a rank
/// has sent the error that it ends with, or is lost: beside MPI each rank has a TCP connection to rank 0, by which they see each other.
///
/// A process has one connection. It is closed by [`Mpi::close`] alone, which waits for all ranks: a process that fails ends without it,
/// and its launcher stops the others.
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    world_size: usize,
    rendezvous: Arc<Rendezvous>,
    /// The most bytes of a message.
    most_bytes: usize,
    /// Held during each operation: the library is called by one thread at a time.
    turn: Mutex<()>,
}

/// Dropped by [`Mpi::close`] alone: its destructor waits for all ranks.
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// MPI counts the elements of a message in 31 bits.
const MOST_BYTES: usize = 1 << 30;

impl Mpi {
    /// Initializes the library, once in a process and before it has other threads that compute.
    ///
    /// # Errors
    ///
    /// [`Error::Ranks`] when it was initialized before, when it lets one thread alone call it, when it counts other ranks than the
    /// launcher's variables do, or when a rank cannot connect to rank 0.
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
        let messages = Messages { world, most_bytes };
        let rendezvous = Rendezvous::open_between(launch, |bytes| messages.gather(bytes))?;
        Ok(Arc::new(Self { rank, world_size, rendezvous, most_bytes, turn: Mutex::new(()) }))
    }

    /// Returns the connections by which the ranks see each other.
    pub(super) fn rendezvous(&self) -> &Arc<Rendezvous> {
        &self.rendezvous
    }

    /// Waits for all ranks, and ends the use of MPI in this process.
    pub fn close(&self) {
        let _turn = self.lock();
        drop(UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.rendezvous.close();
    }

    /// Ends the processes of all ranks, this one included.
    pub(super) fn abort(code: u8) -> ! {
        SimpleCommunicator::world().abort(code.into())
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all ranks have begun an operation: from there it needs no timeout, for each rank is in it.
    fn meet(&self, operation: Operation) -> Result<Met<'_>, Error> {
        let turn = self.lock();
        self.rendezvous.begin(operation);
        let world = SimpleCommunicator::world();
        let mut request = world.immediate_barrier();
        let began = Instant::now();
        loop {
            match request.test() {
                Ok(_) => {
                    let messages = Messages { world, most_bytes: self.most_bytes };
                    return Ok(Met { messages, _turn: turn });
                }
                Err(pending) => request = pending,
            }
            if let Err(error) = self.rendezvous.check(began.elapsed()) {
                // The library keeps the request, which has no buffer; the process ends without finalizing.
                std::mem::forget(request);
                return Err(error);
            }
            pause(began.elapsed());
        }
    }
}

/// An operation that all ranks have begun.
struct Met<'a> {
    messages: Messages,
    _turn: MutexGuard<'a, ()>,
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let operation = self.meet(Operation::Sum)?;
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
        let operation = self.meet(Operation::Broadcast)?;
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
        let operation = self.meet(Operation::AllToAll)?;
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
        Ok(self.meet(Operation::Gather)?.messages.gather(bytes))
    }

    fn agree(&self, flags: u64) -> Result<u64, Error> {
        Ok(self.meet(Operation::Agree)?.messages.agree(flags))
    }

    fn barrier(&self) -> Result<(), Error> {
        self.meet(Operation::Barrier).map(drop)
    }
}
