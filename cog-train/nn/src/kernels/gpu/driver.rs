//! What a GPU can, and what it is told.
#![expect(unsafe_code, reason = "the driver's own functions")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::sys;

use super::compile::compiles_for;

/// The compute capability of each GPU by its number; `None` for one that kernels of ours do not run on.
static CAPABILITIES: Mutex<BTreeMap<usize, Option<(i32, i32)>>> = Mutex::new(BTreeMap::new());

/// Which code a GPU runs, if it is Ampere's or later and NVIDIA's run-time compiler is there and knows it. The first time
/// it is asked for, the GPU is told what training needs of it.
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
            // SAFETY: candle puts all its work on a GPU into one stream, in whose order memory is written, read and freed,
            // unless somebody opens it by `new_cuda_with_stream`, and what is on one device of candle's is used on no other.
            unsafe { device.disable_event_tracking() };
        }
        Some(found)
    })
}

/// Lets the driver keep what is freed for what is allocated next. Unasked, it gives all of it back whenever somebody waits
/// for the GPU, which is several times in a step.
fn keep_memory(device: sys::CUdevice) {
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: 1. both functions write or read the one value whose address they get; 2. the attribute is a u64. A driver
    // that has no pools answers with an error, and nothing is lost but speed.
    unsafe {
        if sys::cuDeviceGetDefaultMemPool(&raw mut pool, device) == sys::CUresult::CUDA_SUCCESS {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast());
        }
    }
}
