//! Ranks on NVIDIA's GPUs, by the collective library that is found when a training starts.
//!
//! The library is opened at run time: a program that was built with the feature `nccl` starts where there is none.
#![expect(unsafe_code, reason = "calls of a C library by pointers to memory of the GPU")]

mod library;
mod memory;

use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use candle_core::{CudaDevice, DType, Device, Tensor};

use self::library::{Collective, Functions, Handle, SUCCESS, SUM, UINT8, UniqueId};
use self::memory::{address, number, number_of};
use super::Communicator;
use super::operation::Operation;
use super::rendezvous::Rendezvous;
use super::tensors::{check_parts, size};
use super::wait::pause;
use crate::error::Error;

/// Ranks that exchange tensors on GPUs by NCCL, each with a GPU of its own.
///
/// Tensors of `u8`, `u32`, `i64`, `bf16`, `f16`, `f32` and `f64` travel, on the device that the ranks were opened on.
/// [`Communicator::sum`] adds `bf16` and `f16` in `f32` and rounds the sum once. What is not a tensor travels by the path over which the
/// ranks met: MPI, or a port of rank 0.
pub struct Nccl {
    rank: usize,
    world_size: usize,
    device: CudaDevice,
    rendezvous: Arc<Rendezvous>,
    functions: Functions,
    /// Null once aborted. Held during each operation.
    handle: Mutex<Pointer>,
}

/// A communicator of NCCL.
struct Pointer(Handle);

// SAFETY: NCCL lets any thread use a communicator, one at a time; `Nccl` keeps it behind a mutex.
unsafe impl Send for Pointer {}

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nccl")
            .field("rank", &self.rank)
            .field("world_size", &self.world_size)
            .finish_non_exhaustive()
    }
}

impl Nccl {
    /// Opens the library on all ranks, and joins them.
    pub(super) fn open(rendezvous: Arc<Rendezvous>, device: &CudaDevice) -> Result<Self, Error> {
        let (rank, world_size) = (rendezvous.rank(), rendezvous.world_size());
        let functions = Functions::load()?;
        let mut id = UniqueId([0; 128]);
        if rank == 0 {
            // SAFETY: `id` has the size and layout of `ncclUniqueId`.
            functions.check(unsafe { (functions.get_unique_id)(&raw mut id) })?;
        }
        // All have the library here: the next call waits for all ranks.
        let ids = rendezvous.gather(&id.0)?;
        id.0.copy_from_slice(&ids[0]);
        let failed = |error: &dyn fmt::Display| Error::Ranks { reason: error.to_string() };
        device.cuda_stream().context().bind_to_thread().map_err(|error| failed(&error))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: (1) The context of the rank's GPU is the thread's current one. (2) `handle` is written before the call succeeds.
        functions.check(unsafe {
            (functions.init_rank)(&raw mut handle, number(world_size), id, number(rank))
        })?;
        Ok(Self {
            rank,
            world_size,
            device: device.clone(),
            rendezvous,
            functions,
            handle: Mutex::new(Pointer(handle)),
        })
    }

    /// Enqueues an operation on the stream of the device, and waits until it is complete or another rank has failed.
    fn run(
        &self,
        operation: Operation,
        enqueue: impl FnOnce(Handle, *mut c_void) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |error: &dyn fmt::Display| Error::Ranks { reason: error.to_string() };
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.0.is_null() {
            return Err(Error::Ranks { reason: "the ranks are no longer connected".to_owned() });
        }
        self.rendezvous.begin(operation);
        let stream = self.device.cuda_stream();
        stream.context().bind_to_thread().map_err(|error| failed(&error))?;
        let mut ended = enqueue(handle.0, stream.cu_stream().cast());
        let done = stream.record_event(None).map_err(|error| failed(&error))?;
        let began = Instant::now();
        while ended.is_ok() && !done.is_complete() {
            let mut code = SUCCESS;
            // SAFETY: the communicator was initialized and not aborted, and `code` is written by the call.
            ended = self
                .functions
                .check(unsafe { (self.functions.async_error)(handle.0, &raw mut code) });
            ended = ended.and_then(|()| self.functions.check(code));
            ended = ended.and_then(|()| self.rendezvous.check(began.elapsed()));
            pause(began.elapsed());
        }
        if ended.is_err() {
            // SAFETY: the communicator was initialized and not aborted; it is used no more.
            unsafe { (self.functions.abort)(handle.0) };
            handle.0 = std::ptr::null_mut();
        }
        ended
    }

    /// Gathers bytes by the connections to rank 0.
    fn gather_as(&self, operation: Operation, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.rendezvous.begin(operation);
        self.rendezvous.gather(bytes)
    }

    /// Returns a contiguous tensor on the device of the ranks.
    fn own(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        Ok(tensor.to_device(&Device::Cuda(self.device.clone()))?.contiguous()?)
    }

    fn collective(
        &self,
        operation: Operation,
        function: Collective,
        tensor: &Tensor,
        argument: c_int,
        in_bytes: bool,
    ) -> Result<Tensor, Error> {
        let sent = self.own(tensor)?;
        let received = sent.zeros_like()?;
        let (count, dtype) = if in_bytes {
            (size(&sent), UINT8)
        } else {
            (sent.elem_count(), number_of(sent.dtype())?)
        };
        let (from, to) = (address(&sent)?, address(&received)?);
        self.run(operation, |handle, stream| {
            // SAFETY: (1) Both tensors have `count` elements of `dtype`, contiguous, on the device of the communicator, and live until the
            // operation is complete or aborted. (2) `received` was made here: nothing else reads or writes it. (3) All work on them is
            // on this stream.
            self.functions
                .check(unsafe { function(from.cast(), to, count, dtype, argument, handle, stream) })
        })?;
        Ok(received)
    }
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let dtype = tensor.dtype();
        let wide = match dtype {
            DType::BF16 | DType::F16 => tensor.to_dtype(DType::F32)?,
            _ => tensor.clone(),
        };
        Ok(self
            .collective(Operation::Sum, self.functions.all_reduce, &wide, SUM, false)?
            .to_dtype(dtype)?)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error> {
        self.collective(Operation::Broadcast, self.functions.broadcast, tensor, number(root), true)
    }

    fn all_to_all(&self, parts: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        check_parts(parts, self.world_size)?;
        let sent = parts.iter().map(|part| self.own(part)).collect::<Result<Vec<_>, _>>()?;
        let own = &sent[self.rank];
        let mut received = Vec::with_capacity(self.world_size);
        for rank in 0..self.world_size {
            received.push(if rank == self.rank { own.clone() } else { own.zeros_like()? });
        }
        let mut buffers = Vec::with_capacity(self.world_size);
        for rank in (0..self.world_size).filter(|rank| *rank != self.rank) {
            buffers.push((rank, address(&sent[rank])?, address(&received[rank])?));
        }
        self.run(Operation::AllToAll, |handle, stream| {
            let Functions { group_start, group_end, send, receive, .. } = &self.functions;
            // SAFETY: (1) to (3) of `collective`: the tensors are contiguous, on this device and this stream, and live until the operation
            // is complete; those that are written were made here. (4) A part has one shape on all ranks, so that each receives as many
            // bytes as are sent to it.
            unsafe {
                self.functions.check(group_start())?;
                for (rank, from, to) in buffers {
                    if size(&sent[rank]) > 0 {
                        let (bytes, peer) = (size(&sent[rank]), number(rank));
                        self.functions.check(send(from, bytes, UINT8, peer, handle, stream))?;
                    }
                    if size(own) > 0 {
                        let (bytes, peer) = (size(own), number(rank));
                        self.functions.check(receive(to, bytes, UINT8, peer, handle, stream))?;
                    }
                }
                self.functions.check(group_end())
            }
        })?;
        Ok(received)
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.gather_as(Operation::Gather, bytes)
    }

    fn agree(&self, flags: u64) -> Result<u64, Error> {
        let all = self.gather_as(Operation::Agree, &flags.to_le_bytes())?;
        let flags = all.iter().filter_map(|bytes| bytes.first_chunk::<8>());
        Ok(flags.fold(0, |agreed, bytes| agreed | u64::from_le_bytes(*bytes)))
    }

    fn barrier(&self) -> Result<(), Error> {
        self.gather_as(Operation::Barrier, &[]).map(drop)
    }
}
