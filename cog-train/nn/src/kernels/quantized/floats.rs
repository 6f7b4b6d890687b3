//! Floats of 16 bits, which are widened exactly.

use half::{bf16, f16};

use crate::kernels::simd::simd;

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
