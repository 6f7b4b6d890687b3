//! One pass over memory.

use candle_core::{DType, Tensor};

use super::Constants;
use crate::error::Error;
use crate::kernels::fused::same_storage;
use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};

const ADAMW: Kernel = kernel!("adamw.cu", "adamw");

/// The GPU of an update: of 32-bit floats without gaps, each tensor with a storage of its own.
pub(super) fn gpu_of(weight: &Tensor, gradient: &Tensor, moments: [&Tensor; 2]) -> Option<Gpu> {
    let all = [weight, gradient, moments[0], moments[1]];
    let alike = all.iter().all(|tensor| {
        tensor.dtype() == DType::F32 && tensor.is_contiguous() && tensor.dims() == weight.dims()
    });
    let apart =
        (0..all.len()).all(|at| all[..at].iter().all(|other| !same_storage(all[at], other)));
    Gpu::of(all).filter(|_| alike && apart)
}

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
pub(super) fn update(
    gpu: &Gpu,
    weight: &Tensor,
    gradient: &Tensor,
    [first, second]: [&Tensor; 2],
    constants: &Constants,
) -> Result<(), Error> {
    let Constants { scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate } =
        *constants;
    let numbers = [scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate];
    let [scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate] =
        numbers.map(|number| number as f32);
    let count = weight.elem_count();
    call!(
        gpu,
        ADAMW,
        Grid::numbers(count),
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
