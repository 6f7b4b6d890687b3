//! Multiplies by a factor in the GPU's memory.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{DType, Error, Tensor};

use super::{Gpu, Grid, Kernel, call, ensure, kernel};

// SAFETY: `scale` has checked that `x` is contiguous and of `count` elements, and that the factor is one of 32 bits.
const SCALE: Kernel = unsafe { kernel!("scale.cu", "scale") };

/// Multiplies a contiguous tensor, of the type that `gpu` computes in, in place by a tensor of one element.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn scale(gpu: &Gpu, x: &Tensor, factor: &Tensor) -> Result<(), Error> {
    let (factor, count) = (factor.to_dtype(DType::F32)?, x.elem_count());
    ensure(gpu.supports(x) && x.is_contiguous() && factor.elem_count() == 1, &SCALE)?;
    call!(gpu, SCALE, Grid::elementwise(count), x, &factor, count)
}
