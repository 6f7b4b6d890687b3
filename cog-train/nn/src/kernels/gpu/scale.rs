//! Multiplying by a number that the GPU has.

use candle_core::{DType, Error, Tensor};

use super::{Gpu, Grid, Kernel, call, kernel};

const SCALE: Kernel = kernel!("scale.cu", "scale");

/// Multiplies a tensor without gaps, of the type that `gpu` computes in, in place by a tensor of one number.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn scale(gpu: &Gpu, x: &Tensor, factor: &Tensor) -> Result<(), Error> {
    let (factor, count) = (factor.to_dtype(DType::F32)?, x.elem_count());
    call!(gpu, SCALE, Grid::numbers(count), x, &factor, count)
}
