//! AdamW whose moments are codes of 8 bits, with a scale for each block of 256 elements.
//!
//! An update decodes the moments of a block, computes as [`adamw`](super::adamw) does, in 32 bits, and encodes the new moments: each is
//! divided by the largest magnitude of its block, which is the block's scale, and becomes the nearest value of a
//! map (`dynamic_map`). A second moment that is not zero never becomes zero: the root in the divisor of the next step would
//! vanish.
//!
//! Sources: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (2022); for the zeros, Li et al., "Memory Efficient
//! Optimizers with 4-bit States" (2023).

mod codes;
mod cpu;
mod cuda;

use candle_core::{DType, Device, Error, Tensor, Var};

use super::adamw::{Constants, Hyperparameters};
use super::{fused, host};

/// Elements of a block, which share a scale.
pub const BLOCK: usize = 256;

/// The two moments of a weight: codes in its dimensions, and the scales of their blocks.
#[derive(Debug, Clone, Copy)]
pub struct Moments<'a> {
    /// `U8`, with a sign.
    pub first: &'a Var,
    /// `F32`, a scale for each block of [`first`](Self::first).
    pub first_scales: &'a Var,
    /// `U8`, from zero on.
    pub second: &'a Var,
    /// `F32`, a scale for each block of [`second`](Self::second).
    pub second_scales: &'a Var,
}

impl Moments<'_> {
    /// Whether one pass can update a weight with these: all are contiguous, each in a storage of its own, and on one device.
    fn fit(&self, weight: &Tensor, gradient: &Tensor) -> bool {
        let blocks = [weight.elem_count().div_ceil(BLOCK)];
        let is_codes = |codes: &Var| codes.dtype() == DType::U8 && codes.dims() == weight.dims();
        let is_scales = |scales: &Var| scales.dtype() == DType::F32 && scales.dims() == blocks;
        let state = [self.first, self.first_scales, self.second, self.second_scales];
        let all = [weight, gradient].into_iter().chain(state.map(Var::as_tensor));
        let mut storages: Vec<_> = all.map(host::storage_address).collect();
        storages.sort_unstable();
        storages.dedup();
        is_codes(self.first)
            && is_codes(self.second)
            && is_scales(self.first_scales)
            && is_scales(self.second_scales)
            && state.iter().all(|it| it.is_contiguous() && it.device().same_device(weight.device()))
            && fused::are_alike(weight, gradient, &[])
            && storages.len() == 6
    }
}

/// Updates a weight and its moments in place. Devices without a kernel hand them to the CPU.
///
/// # Errors
///
/// candle's error when the device fails, or when dtypes, shapes or layouts are others.
pub fn update(
    weight: &Var,
    gradient: &Tensor,
    moments: Moments<'_>,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    let constants = Constants::from(parameters);
    let gradient = gradient.contiguous()?;
    if !moments.fit(weight, &gradient) {
        return Err(Error::msg(
            "a weight, its gradient and its moments in 8 bits do not fit each other",
        ));
    }
    if host::on_cpu(weight) {
        cpu::update(weight, &gradient, moments, &constants)
    } else if let Some(gpu) = cuda::gpu_of(weight, &gradient) {
        cuda::update(&gpu, weight, &gradient, moments, &constants)
    } else {
        on_the_cpu(weight, &gradient, moments, &constants)
    }
}

/// Updates copies on the CPU and copies them back.
fn on_the_cpu(
    weight: &Var,
    gradient: &Tensor,
    moments: Moments<'_>,
    constants: &Constants,
) -> Result<(), Error> {
    let copy = |it: &Var| Var::from_tensor(&it.to_device(&Device::Cpu)?);
    let Moments { first, first_scales, second, second_scales } = moments;
    let state = [weight, first, first_scales, second, second_scales];
    let copies =
        [copy(weight)?, copy(first)?, copy(first_scales)?, copy(second)?, copy(second_scales)?];
    let [weight, first, first_scales, second, second_scales] = &copies;
    let moments = Moments { first, first_scales, second, second_scales };
    cpu::update(weight, &gradient.to_device(&Device::Cpu)?, moments, constants)?;
    for (of, copy) in state.iter().zip(&copies) {
        of.set(&copy.to_device(of.device())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
