//! The capability of a GPU, and the settings that training needs.
#![expect(unsafe_code, reason = "the driver's own functions")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::sys;

use super::compile::compiles_for;

/// The compute capability of each GPU by its ordinal; `None` for one that our kernels do not run on.
static CAPABILITIES: Mutex<BTreeMap<usize, Option<(i32, i32)>>> = Mutex::new(BTreeMap::new());

/// Returns the compute capability of a GPU, if it is Ampere or later and NVIDIA's run-time compiler is installed and
/// supports it. The first call configures the GPU for training.
pub(super) fn capability(device: &CudaDevice) -> Option<(i32, i32)> {
    let stream = device.cuda_stream();
    let context = stream.context();
    let mut known = CAPABILITIES.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry(context.ordinal()).or_insert_with(|| {
        let found = context.compute_capability().ok().filter(|found| *found >= (8, 0))?;
        if !compiles_for(found) {
            return None;
        }
        keep_memory(context.cu_device());
        if !context.is_in_multi_stream_mode() {
            // SAFETY: 1. candle puts all its work on a GPU into one stream, in whose order memory is written, read and freed, unless
            // the device was made by `new_cuda_with_stream`, which the condition excludes; 2. candle uses the memory of one of
            // its devices on no other.
            unsafe { device.disable_event_tracking() };
        }
        Some(found)
    })
}

/// Lets the driver keep freed memory for later allocations. By default it returns all of it to the system whenever a thread
/// waits for the GPU, which is several times in a step.
fn keep_memory(device: sys::CUdevice) {
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: 1. both functions write or read the one value whose address they get; 2. the attribute is a u64. A driver
    // without pools returns an error, and only speed is lost.
    unsafe {
        if sys::cuDeviceGetDefaultMemPool(&raw mut pool, device) == sys::CUresult::CUDA_SUCCESS {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast());
        }
    }
}
