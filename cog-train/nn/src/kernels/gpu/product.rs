//! Gradients of weights, accumulated in place.

use candle_core::{DType, Error, Tensor};

use super::Gpu;
use crate::kernels::tape::{Adjoints, Handle};

/// Adds `scale * dy^T x`, `[outputs, inputs]` in 32 bits, to the gradient of a weight: `dy` `[rows, outputs]` and `x`
/// `[rows, inputs]` are of one type and contiguous.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn weight_gradient(
    gpu: &Gpu,
    adjoints: &mut Adjoints,
    to: Handle,
    [dy, x]: [&Tensor; 2],
    scale: f32,
) -> Result<(), Error> {
    let shape = (dy.dims()[1], x.dims()[1]);
    let allocate = || gpu.empty(shape, DType::F32);
    adjoints.write_tensor(to, allocate, |target, accumulate| {
        gpu.product(target, accumulate, [dy, x], scale)
    })
}
