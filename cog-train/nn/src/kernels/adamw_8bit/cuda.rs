//! A block of threads for each block of elements.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{Error, Tensor};

use super::codes::{SIGNED, UNSIGNED};
use super::{BLOCK, Moments};
use crate::kernels::adamw::Constants;
use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};

// SAFETY: `Moments::fit` has checked that weight, gradient and codes are contiguous, of `count` elements and of their types, and that
// there is a scale for each 256 of them; the maps have 256 values.
const ADAMW_8BIT: Kernel = unsafe { kernel!("adamw_8bit.cu", "adamw_8bit") };

/// The GPU of an update, if the kernel can run on it.
pub(super) fn gpu_of(weight: &Tensor, gradient: &Tensor) -> Option<Gpu> {
    Gpu::of([weight, gradient])
}

pub(super) fn update(
    gpu: &Gpu,
    weight: &Tensor,
    gradient: &Tensor,
    moments: Moments<'_>,
    constants: &Constants,
) -> Result<(), Error> {
    let Moments { first, first_scales, second, second_scales } = moments;
    let Constants { scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate } =
        constants.in_32_bits();
    let count = weight.elem_count();
    let [signed, unsigned] =
        [&SIGNED, &UNSIGNED].map(|codes| Tensor::new(&codes.values, weight.device()));
    let (signed, unsigned) = (signed?, unsigned?);
    call!(
        gpu,
        ADAMW_8BIT,
        Grid { blocks: [count.div_ceil(BLOCK), 1, 1], threads: BLOCK, shared: 0 },
        weight,
        gradient,
        first.as_tensor(),
        first_scales.as_tensor(),
        second.as_tensor(),
        second_scales.as_tensor(),
        &signed,
        &unsigned,
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
