//! One pass over memory.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{Error, Tensor};

use super::Constants;
use crate::kernels::fused;
use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};

// SAFETY: `gpu_of` has checked that the four tensors are contiguous, of `count` elements and of the type of the GPU.
const ADAMW: Kernel = unsafe { kernel!("adamw.cu", "adamw") };

/// The GPU of an update, if one pass can go over all tensors.
pub(super) fn gpu_of(weight: &Tensor, gradient: &Tensor, moments: [&Tensor; 2]) -> Option<Gpu> {
    let gpu = Gpu::of([weight, gradient, moments[0], moments[1]]);
    gpu.filter(|_| fused::are_alike(weight, gradient, &moments))
}

pub(super) fn update(
    gpu: &Gpu,
    weight: &Tensor,
    gradient: &Tensor,
    [first, second]: [&Tensor; 2],
    constants: &Constants,
) -> Result<(), Error> {
    let Constants { scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate } =
        constants.in_32_bits();
    let count = weight.elem_count();
    call!(
        gpu,
        ADAMW,
        Grid::elementwise(count),
        weight,
        gradient,
        first,
        second,
        count,
        scale,
        shrink,
        coupled,
        share1,
        beta2,
        share2,
        correction,
        epsilon,
        rate
    )
}
