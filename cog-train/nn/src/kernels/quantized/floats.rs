//! Floats of 16 bits as blocks of one element, which are widened exactly.

use candle_core::{CpuStorage, DType, Error, Storage, Tensor};
use half::{bf16, f16};

use super::decode::{Blocks, Elements};
use super::{BlockLayout, Quantized, check_sizes};
use crate::kernels::simd::simd;

impl Quantized {
    /// Takes a matrix `[outputs, inputs]` of bfloat16 or IEEE halves, which is not copied where it is contiguous. Layers widen its elements
    /// when they multiply by them: a matrix that stands for 32 bits, as [`to_dtype`](Self::to_dtype) says, takes half the memory of
    /// one in 32 bits, and its products are the same bits.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::{Linear, Quantized};
    ///
    /// let weight = Tensor::rand(-1f32, 1.0, (8, 32), &Device::Cpu)?.to_dtype(DType::BF16)?;
    /// let held = Quantized::from_floats(&weight)?.to_dtype(DType::F32);
    /// assert_eq!(held.byte_count(), 8 * 32 * 2);
    /// let (layer, wide) = (Linear::from_tensors(held, None), Linear::from_tensors(weight.to_dtype(DType::F32)?, None));
    /// let x = Tensor::rand(-1f32, 1.0, (4, 32), &Device::Cpu)?;
    /// assert_eq!(layer.forward(&x)?.to_vec2::<f32>()?, wide.forward(&x)?.to_vec2::<f32>()?);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// candle's error for another type, and when it is no matrix or has no elements.
    pub fn from_floats(matrix: &Tensor) -> Result<Self, Error> {
        let (outputs, inputs) = matrix.dims2()?;
        check_sizes(outputs, inputs)?;
        let dtype = matrix.dtype();
        let layout = match dtype {
            DType::F16 => BlockLayout::F16,
            DType::BF16 => BlockLayout::Bf16,
            _ => {
                let reason = format!("quantized: floats of 16 bits, not {dtype:?}");
                return Err(Error::msg(reason));
            }
        };
        let data = matrix.detach().contiguous()?;
        Ok(Self { layout, outputs, inputs, dtype, data, scales: None })
    }
}

/// Calls `work` with the elements of a contiguous matrix of 16-bit floats on the CPU.
///
/// # Errors
///
/// candle's error when it is none.
pub(crate) fn read<R>(matrix: &Tensor, work: impl FnOnce(Blocks<'_>) -> R) -> Result<R, Error> {
    let (outputs, inputs) = matrix.dims2()?;
    let (storage, layout) = matrix.storage_and_layout();
    let (elements, layout) = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::BF16(elements)), Some((start, end))) => {
            (Elements::Bf16(&elements[start..end]), BlockLayout::Bf16)
        }
        (Storage::Cpu(CpuStorage::F16(elements)), Some((start, end))) => {
            (Elements::F16(&elements[start..end]), BlockLayout::F16)
        }
        _ => return Err(Error::msg("quantized: floats are contiguous and on the CPU")),
    };
    Ok(work(Blocks { layout, elements, outputs, inputs }))
}

/// Copies the bytes of floats, in the order of this machine.
pub(super) fn bytes(matrix: &Tensor) -> Result<Vec<u8>, Error> {
    let flat = matrix.flatten_all()?;
    Ok(match matrix.dtype() {
        DType::BF16 => flat.to_vec1::<bf16>()?.into_iter().flat_map(bf16::to_ne_bytes).collect(),
        _ => flat.to_vec1::<f16>()?.into_iter().flat_map(f16::to_ne_bytes).collect(),
    })
}

/// Returns the value of an IEEE half, from its bits.
#[inline(always)]
pub(super) fn widened(bits: u16) -> f32 {
    /// 2^112: the difference of the exponents' offsets.
    const SHIFT: f32 = 5.192_297e33;
    let bits = u32::from(bits);
    let size = f32::from_bits((bits & 0x7fff) << 13) * SHIFT;
    // Infinity and NaN have the largest exponent.
    let size = if bits & 0x7c00 == 0x7c00 { size.to_bits() | 0x7f80_0000 } else { size.to_bits() };
    f32::from_bits(size | (bits & 0x8000) << 16)
}

simd! {
    pub(super) fn widen_bf16(from: &[bf16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }

    pub(super) fn widen_f16(from: &[f16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = widened(from.to_bits());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_its_value() {
        for bits in 0..=u16::MAX {
            let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, f64::from(bits & 1023));
            let size = match exponent {
                0 => fraction * 2f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
            };
            let expected = if sign == 1 { -size } else { size };
            let found = f64::from(widened(bits));
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
        }
    }
}
