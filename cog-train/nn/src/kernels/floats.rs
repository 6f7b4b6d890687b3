//! Floats of 16 bits, which are widened exactly, and bfloat16, to which floats are rounded.

use half::{bf16, f16};

use crate::kernels::simd::simd;

/// Returns the value of an IEEE half, from its bits.
#[inline(always)]
pub(crate) fn widened(bits: u16) -> f32 {
    /// 2^112: the difference of the exponents' offsets.
    const SHIFT: f32 = 5.192_297e33;
    let bits = u32::from(bits);
    let size = f32::from_bits((bits & 0x7fff) << 13) * SHIFT;
    // Infinity and NaN have the largest exponent.
    let size = if bits & 0x7c00 == 0x7c00 { size.to_bits() | 0x7f80_0000 } else { size.to_bits() };
    f32::from_bits(size | (bits & 0x8000) << 16)
}

simd! {
    pub(crate) fn widen_bf16(from: &[bf16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }

    pub(crate) fn widen_f16(from: &[f16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = widened(from.to_bits());
        }
    }

    pub(crate) fn round_bf16(from: &[f32], to: &mut [bf16]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = bf16::from_bits(rounded(from.to_bits()));
        }
    }
}

/// Returns the bits of the nearest bfloat16, of two the even one, from those of a float.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the high half is shifted down")]
fn rounded(bits: u32) -> u16 {
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if is_nan { bits >> 16 | 0x40 } else { nearest }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At and beside every value and every middle between two values.
    #[test]
    fn floats_are_rounded_as_half_rounds_them() {
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let bits = u32::from(high) << 16 | low;
                let expected = bf16::from_f32(f32::from_bits(bits));
                assert_eq!(rounded(bits), expected.to_bits(), "{bits:x}");
            }
        }
    }

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
