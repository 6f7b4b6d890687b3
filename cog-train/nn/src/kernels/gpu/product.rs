//! Gradients of weights, added where they stay.

use candle_core::{DType, Error, Tensor};

use super::Gpu;
use crate::kernels::tape::{Adjoints, Handle};

/// Gives `scale * dy^T x`, `[outputs, inputs]` in 32 bits, to a weight: `dy` `[rows, outputs]` and `x` `[rows, inputs]` are
/// of one type and without gaps.
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
    let make = || gpu.empty(shape, DType::F32);
    adjoints.write_tensor(to, make, |target, adds| gpu.product(target, adds, [dy, x], scale))
}
