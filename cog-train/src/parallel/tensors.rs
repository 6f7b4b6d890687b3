//! The rules for tensors that travel between ranks.

use candle_core::{DType, Tensor};

use crate::error::Error;

/// Returns the bytes of a tensor's elements.
pub(super) fn size(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}

/// Checks that there is a part for each rank.
pub(super) fn check_parts(parts: &[Tensor], world_size: usize) -> Result<(), Error> {
    if parts.len() == world_size {
        return Ok(());
    }
    Err(Error::Ranks { reason: format!("{} parts for {world_size} ranks", parts.len()) })
}

pub(super) fn unsupported(dtype: DType) -> Error {
    Error::Ranks { reason: format!("tensors of `{}` do not travel between ranks", dtype.as_str()) }
}
