//! Tensors in the memory of a GPU, as NCCL takes them.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::driver::{CudaStream, DevicePtr};
use candle_core::{DType, Storage, Tensor};

use super::library::UINT8;
use crate::error::Error;
use crate::parallel::tensors::unsupported;

/// Returns the address of the first element of a contiguous tensor on the GPU.
pub(super) fn address(tensor: &Tensor) -> Result<*mut c_void, Error> {
    fn at<T>(slice: &impl DevicePtr<T>, stream: &Arc<CudaStream>, start: usize) -> u64 {
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

/// Returns the number of a type in `ncclDataType_t`.
pub(super) fn number_of(dtype: DType) -> Result<c_int, Error> {
    match dtype {
        DType::U8 => Ok(UINT8),
        DType::U32 => Ok(3),
        DType::I64 => Ok(4),
        DType::F32 => Ok(7),
        DType::F64 => Ok(8),
        _ => Err(unsupported(dtype)),
    }
}

/// Returns a rank or a size as NCCL counts it.
pub(super) fn number(rank: usize) -> c_int {
    c_int::try_from(rank).unwrap_or(c_int::MAX)
}
