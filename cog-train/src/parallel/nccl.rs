//! Ranks on NVIDIA's GPUs, by the collective library that is found when a training starts.
//!
//! The library is opened at run time: a program that was built with the feature `nccl` starts where there is none.
#![expect(unsafe_code, reason = "calls of a C library by pointers to memory of the GPU")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{CudaDevice, DType, Device, Storage, Tensor};
use libloading::Library;

use super::Communicator;
use super::channel::{Channel, late, pause, timeout};
use super::tensors::{check_parts, size, unsupported};
use crate::error::Error;

/// `ncclUniqueId`: 128 bytes that C passes by value.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([u8; 128]);

/// `ncclComm_t`.
type Handle = *mut c_void;
type Code = c_int;

/// `ncclSuccess` and `ncclInProgress`.
const SUCCESS: Code = 0;
const IN_PROGRESS: Code = 7;
/// `ncclSum` and the numbers of `ncclDataType_t`.
const SUM: c_int = 0;
const UINT8: c_int = 1;

type Collective = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    Handle,
    *mut c_void,
) -> Code;

/// The functions of `nccl.h` that are called here. They do not change since NCCL 2.7.
struct Functions {
    get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> Code,
    init_rank: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int) -> Code,
    abort: unsafe extern "C" fn(Handle) -> Code,
    async_error: unsafe extern "C" fn(Handle, *mut Code) -> Code,
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
    all_reduce: Collective,
    broadcast: Collective,
    send: unsafe extern "C" fn(*const c_void, usize, c_int, c_int, Handle, *mut c_void) -> Code,
    receive: unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> Code,
    group_start: unsafe extern "C" fn() -> Code,
    group_end: unsafe extern "C" fn() -> Code,
    /// Keeps the functions in memory.
    _library: Library,
}

impl Functions {
    fn load() -> Result<Self, Error> {
        const NAME: &str = "libnccl.so.2";
        let failed = |error: libloading::Error| Error::Ranks {
            reason: format!(
                "NVIDIA's library for many GPUs cannot be opened: {error}\n\
                 hint: install NCCL (the package `libnccl2`, or `nvidia-nccl-cu12` of Python), and name its folder in \
                 `LD_LIBRARY_PATH`"
            ),
        };
        // SAFETY: (1) NCCL's initializers have no requirements. (2) Each symbol is read as the type that `nccl.h` declares. (3) The
        // library is kept beside the functions, which are private to this file.
        unsafe {
            let library = Library::new(NAME).map_err(failed)?;
            macro_rules! symbol {
                ($name:literal) => {
                    *library.get($name).map_err(failed)?
                };
            }
            Ok(Self {
                get_unique_id: symbol!(b"ncclGetUniqueId\0"),
                init_rank: symbol!(b"ncclCommInitRank\0"),
                abort: symbol!(b"ncclCommAbort\0"),
                async_error: symbol!(b"ncclCommGetAsyncError\0"),
                error_string: symbol!(b"ncclGetErrorString\0"),
                all_reduce: symbol!(b"ncclAllReduce\0"),
                broadcast: symbol!(b"ncclBroadcast\0"),
                send: symbol!(b"ncclSend\0"),
                receive: symbol!(b"ncclRecv\0"),
                group_start: symbol!(b"ncclGroupStart\0"),
                group_end: symbol!(b"ncclGroupEnd\0"),
                _library: library,
            })
        }
    }

    fn check(&self, code: Code) -> Result<(), Error> {
        if code == SUCCESS || code == IN_PROGRESS {
            return Ok(());
        }
        // SAFETY: the function returns a string that lives as long as the library, for any code.
        let text = unsafe { CStr::from_ptr((self.error_string)(code)) };
        Err(Error::Ranks { reason: format!("NCCL: {}", text.to_string_lossy()) })
    }
}

/// Ranks that exchange tensors on GPUs by NCCL, each with a GPU of its own.
///
/// Tensors of `u8`, `u32`, `i64`, `bf16`, `f16`, `f32` and `f64` travel, on the device that the ranks were opened on.
/// [`Communicator::sum`] adds `bf16` and `f16` in `f32` and rounds the sum once. What is not a tensor travels by the path over which the
/// ranks met: MPI, or a port of rank 0.
pub struct Nccl {
    rank: usize,
    world_size: usize,
    device: CudaDevice,
    channel: Arc<dyn Channel>,
    functions: Functions,
    /// Null once aborted. Held during each operation.
    handle: Mutex<Pointer>,
    timeout: Duration,
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
    pub(super) fn open(
        channel: Arc<dyn Channel>,
        rank: usize,
        world_size: usize,
        device: &CudaDevice,
    ) -> Result<Self, Error> {
        let functions = Functions::load()?;
        let mut id = UniqueId([0; 128]);
        if rank == 0 {
            // SAFETY: `id` has the size and layout of `ncclUniqueId`.
            functions.check(unsafe { (functions.get_unique_id)(&raw mut id) })?;
        }
        // All have the library here: the next call waits for all ranks.
        let ids = channel.gather(&id.0)?;
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
            channel,
            functions,
            handle: Mutex::new(Pointer(handle)),
            timeout: timeout(),
        })
    }

    /// Enqueues an operation on the stream of the device, and waits until it is complete or another rank has failed.
    fn run(
        &self,
        enqueue: impl FnOnce(Handle, *mut c_void) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |error: &dyn fmt::Display| Error::Ranks { reason: error.to_string() };
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.0.is_null() {
            return Err(Error::Ranks { reason: "the ranks are no longer connected".to_owned() });
        }
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
            if let Some(error) = self.channel.failure() {
                ended = Err(error);
            } else if began.elapsed() > self.timeout {
                ended = Err(late(self.timeout));
            }
            pause(began.elapsed());
        }
        if ended.is_err() {
            // SAFETY: the communicator was initialized and not aborted; it is used no more.
            unsafe { (self.functions.abort)(handle.0) };
            handle.0 = std::ptr::null_mut();
        }
        ended
    }

    /// Returns a contiguous tensor on the device of the ranks.
    fn own(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        Ok(tensor.to_device(&Device::Cuda(self.device.clone()))?.contiguous()?)
    }

    fn collective(
        &self,
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
        self.run(|handle, stream| {
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
        Ok(self.collective(self.functions.all_reduce, &wide, SUM, false)?.to_dtype(dtype)?)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error> {
        self.collective(self.functions.broadcast, tensor, number(root), true)
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
        self.run(|handle, stream| {
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
        self.channel.gather(bytes)
    }

    fn agree(&self, flags: u64) -> Result<u64, Error> {
        let all = self.channel.gather(&flags.to_le_bytes())?;
        let flags = all.iter().filter_map(|bytes| bytes.first_chunk::<8>());
        Ok(flags.fold(0, |agreed, bytes| agreed | u64::from_le_bytes(*bytes)))
    }

    fn barrier(&self) -> Result<(), Error> {
        self.channel.gather(&[]).map(drop)
    }
}

/// Returns the address of the first element of a contiguous tensor on the GPU.
fn address(tensor: &Tensor) -> Result<*mut c_void, Error> {
    fn at<T>(slice: &impl DevicePtr<T>, stream: &Arc<Stream>, start: usize) -> u64 {
        let (pointer, _guard) = slice.device_ptr(stream);
        pointer + (start * size_of::<T>()) as u64
    }
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else { return Err(unsupported(tensor.dtype())) };
    let (start, stream) = (layout.start_offset(), &storage.device.cuda_stream());
    let pointer = match &storage.slice {
        CudaStorageSlice::U8(slice) => at(slice, stream, start),
        CudaStorageSlice::U32(slice) => at(slice, stream, start),
        CudaStorageSlice::I64(slice) => at(slice, stream, start),
        CudaStorageSlice::BF16(slice) => at(slice, stream, start),
        CudaStorageSlice::F16(slice) => at(slice, stream, start),
        CudaStorageSlice::F32(slice) => at(slice, stream, start),
        CudaStorageSlice::F64(slice) => at(slice, stream, start),
        _ => return Err(unsupported(tensor.dtype())),
    };
    Ok(std::ptr::with_exposed_provenance_mut(usize::try_from(pointer).unwrap_or_default()))
}

type Stream = candle_core::cuda_backend::cudarc::driver::CudaStream;

/// Returns the number of a type in `ncclDataType_t`.
fn number_of(dtype: DType) -> Result<c_int, Error> {
    match dtype {
        DType::U8 => Ok(UINT8),
        DType::U32 => Ok(3),
        DType::I64 => Ok(4),
        DType::F32 => Ok(7),
        DType::F64 => Ok(8),
        _ => Err(unsupported(dtype)),
    }
}

fn number(rank: usize) -> c_int {
    c_int::try_from(rank).unwrap_or(c_int::MAX)
}
