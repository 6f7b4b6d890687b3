//! Tensors of the CPU as factors of products.

use candle_core::{CpuStorage, Error, Storage, Tensor};

use super::matmul::Rows;

/// Calls `work` with a contiguous tensor of bfloat16 or of 32 bits on the CPU as rows of so many `columns`.
///
/// # Errors
///
/// candle's error when it is none.
pub(crate) fn read<R>(
    tensor: &Tensor,
    columns: usize,
    work: impl FnOnce(Rows<'_>) -> R,
) -> Result<R, Error> {
    let (storage, layout) = tensor.storage_and_layout();
    let refused =
        || Error::msg("a product needs contiguous floats of 32 bits or bfloat16 on the CPU");
    let (start, end) = layout.contiguous_offsets().ok_or_else(refused)?;
    match &*storage {
        Storage::Cpu(CpuStorage::F32(elements)) => {
            Ok(work(Rows::new(&elements[start..end], columns)))
        }
        Storage::Cpu(CpuStorage::BF16(elements)) => {
            Ok(work(Rows::of_bf16(&elements[start..end], columns)))
        }
        _ => Err(refused()),
    }
}
