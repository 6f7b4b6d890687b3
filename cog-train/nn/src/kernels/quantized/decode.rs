//! Blocks to floats, 32 elements at a time.

use super::layout::BlockLayout;
use super::nf4::CODE;
use crate::kernels::simd::simd;

/// Elements that are decoded together. Each block has some of them, and a scale or more of its own.
pub(super) const UNIT: usize = 32;

/// The blocks of a matrix, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'a> {
    pub(super) layout: BlockLayout,
    pub(super) bytes: &'a [u8],
    /// The scales of NF4.
    pub(super) scales: Scale<'a>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

/// The scales of NF4, each of so many elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale<'a> {
    pub(super) block: usize,
    pub(super) kind: ScaleKind<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ScaleKind<'a> {
    Float(&'a [f32]),
    /// `map[code] * scale + offset`, with a scale for each `block` codes.
    Nested {
        codes: &'a [u8],
        map: &'a [f32],
        scales: &'a [f32],
        block: usize,
        offset: f32,
    },
}

impl Scale<'_> {
    /// Returns the scale of the block of an element.
    fn at(&self, element: usize) -> f32 {
        let block = element / self.block;
        match self.kind {
            ScaleKind::Float(scales) => scales[block],
            ScaleKind::Nested { codes, map, scales, block: of, offset } => {
                map[usize::from(codes[block])] * scales[block / of] + offset
            }
        }
    }
}

impl Blocks<'_> {
    /// Returns the sizes of the matrix: its outputs and its inputs.
    pub(crate) fn dims(&self) -> (usize, usize) {
        (self.outputs, self.inputs)
    }

    /// Decodes the elements of a row from a column on.
    ///
    /// # Panics
    ///
    /// When they are not in the matrix.
    pub(crate) fn decode(&self, row: usize, column: usize, to: &mut [f32]) {
        assert!(row < self.outputs && column + to.len() <= self.inputs);
        let mut start = row * self.inputs + column;
        let mut to = to;
        // The rows of NF4 may begin within a unit, and the last unit of a matrix may be a part of one.
        let mut some = [0.0; UNIT];
        let skipped = start % UNIT;
        if skipped > 0 {
            let count = to.len().min(UNIT - skipped);
            let (first, rest) = to.split_at_mut(count);
            self.units(start / UNIT, &mut some);
            first.copy_from_slice(&some[skipped..][..count]);
            (start, to) = (start + count, rest);
        }
        let (whole, last) = to.split_at_mut(to.len() / UNIT * UNIT);
        self.units(start / UNIT, whole);
        if !last.is_empty() {
            self.units((start + whole.len()) / UNIT, &mut some);
            last.copy_from_slice(&some[..last.len()]);
        }
    }

    /// Decodes units, from the unit `first` of the matrix on.
    fn units(&self, first: usize, to: &mut [f32]) {
        let Self { layout, bytes, .. } = *self;
        let units = layout.block_len() / UNIT;
        let from = &bytes[(first / units * layout.block_bytes()).min(bytes.len())..];
        match layout {
            BlockLayout::Q4_0 => q4_0(from, to),
            BlockLayout::Q4_1 => q4_1(from, to),
            BlockLayout::Q8_0 => q8_0(from, to),
            BlockLayout::Q4K => q4_k(from, first % units, to),
            BlockLayout::Q5_0 => q5_0(from, to),
            BlockLayout::Q5_1 => q5_1(from, to),
            BlockLayout::Q5K => q5_k(from, first % units, to),
            BlockLayout::Q6K => q6_k(from, first % units, to),
            BlockLayout::Nf4 => self.nf4(first, to),
        }
    }

    fn nf4(&self, first: usize, to: &mut [f32]) {
        let bytes = &self.bytes[first * (UNIT / 2)..];
        let step = self.scales.block;
        let mut at = first * UNIT;
        let mut to = to;
        while !to.is_empty() {
            // To the end of the block.
            let count = to.len().min(step - at % step);
            let (now, rest) = to.split_at_mut(count);
            let from = &bytes[(at - first * UNIT) / 2..];
            pairs(&from[..from.len().min(count / 2)], self.scales.at(at), now);
            (at, to) = (at + count, rest);
        }
    }
}

/// The two elements of each byte of NF4; the first is in the high half.
static PAIRS: [[f32; 2]; 256] = {
    let mut pairs = [[0.0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [CODE[byte >> 4], CODE[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Returns the value of an IEEE half.
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    /// 2^112: the difference of the exponents' offsets.
    const SHIFT: f32 = 5.192_297e33;
    let bits = u32::from(u16::from_le_bytes(bytes));
    let size = f32::from_bits((bits & 0x7fff) << 13) * SHIFT;
    // Infinity and NaN have the largest exponent.
    let size = if bits & 0x7c00 == 0x7c00 { size.to_bits() | 0x7f80_0000 } else { size.to_bits() };
    f32::from_bits(size | (bits & 0x8000) << 16)
}

/// Returns the scale and the minimum of a group of `Q4_K` and `Q5_K`, from the 16 bytes at the head of its block: two halves, and
/// factors of 6 bits for each group. Those of the first four groups fill the low bits of 8 bytes, the others the next four bytes and
/// the high bits.
fn scale_and_minimum(head: &[u8], group: usize) -> (f32, f32) {
    let (halves, packed) = head.split_at(4);
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        ((low & 15) | (packed[group - 4] >> 6 << 4), (low >> 4) | (packed[group] >> 6 << 4))
    };
    let (of_scale, of_minimum) = (f32::from(scale), f32::from(minimum));
    (half([halves[0], halves[1]]) * of_scale, half([halves[2], halves[3]]) * of_minimum)
}

/// Returns the fifth bit of an element, of those of 32, in its place.
#[inline]
fn fifth(bits: u32, at: usize) -> u8 {
    u8::from(bits >> at & 1 == 1) << 4
}

// The loops have lengths that the compiler knows.
simd! {
    fn q4_0(from: &[u8], to: &mut [f32]) {
        for (block, to) in from.as_chunks::<18>().0.iter().zip(to.as_chunks_mut::<UNIT>().0) {
            let scale = half([block[0], block[1]]);
            for at in 0..16 {
                let byte = block[2 + at];
                to[at] = scale * f32::from((byte & 15).cast_signed() - 8);
                to[16 + at] = scale * f32::from((byte >> 4).cast_signed() - 8);
            }
        }
    }

    fn q4_1(from: &[u8], to: &mut [f32]) {
        for (block, to) in from.as_chunks::<20>().0.iter().zip(to.as_chunks_mut::<UNIT>().0) {
            let (scale, minimum) = (half([block[0], block[1]]), half([block[2], block[3]]));
            for at in 0..16 {
                let byte = block[4 + at];
                to[at] = scale * f32::from(byte & 15) + minimum;
                to[16 + at] = scale * f32::from(byte >> 4) + minimum;
            }
        }
    }

    fn q5_0(from: &[u8], to: &mut [f32]) {
        for (block, to) in from.as_chunks::<22>().0.iter().zip(to.as_chunks_mut::<UNIT>().0) {
            let scale = half([block[0], block[1]]);
            let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
            for at in 0..16 {
                let byte = block[6 + at];
                let (first, second) = (byte & 15 | fifth(high, at), byte >> 4 | fifth(high, 16 + at));
                to[at] = scale * f32::from(first.cast_signed() - 16);
                to[16 + at] = scale * f32::from(second.cast_signed() - 16);
            }
        }
    }

    fn q5_1(from: &[u8], to: &mut [f32]) {
        for (block, to) in from.as_chunks::<24>().0.iter().zip(to.as_chunks_mut::<UNIT>().0) {
            let (scale, minimum) = (half([block[0], block[1]]), half([block[2], block[3]]));
            let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
            for at in 0..16 {
                let byte = block[8 + at];
                let (first, second) = (byte & 15 | fifth(high, at), byte >> 4 | fifth(high, 16 + at));
                to[at] = scale * f32::from(first) + minimum;
                to[16 + at] = scale * f32::from(second) + minimum;
            }
        }
    }

    fn q8_0(from: &[u8], to: &mut [f32]) {
        for (block, to) in from.as_chunks::<34>().0.iter().zip(to.as_chunks_mut::<UNIT>().0) {
            let scale = half([block[0], block[1]]);
            for at in 0..UNIT {
                to[at] = scale * f32::from(block[2 + at].cast_signed());
            }
        }
    }

    /// From a unit of the first block on.
    fn q4_k(from: &[u8], first: usize, to: &mut [f32]) {
        let blocks = from.as_chunks::<144>().0;
        for (unit, to) in (first..).zip(to.as_chunks_mut::<UNIT>().0) {
            let (block, unit) = (&blocks[unit / 8], unit % 8);
            let (head, values) = block.split_at(16);
            let (scale, minimum) = scale_and_minimum(head, unit);
            let (values, shift) = (&values[unit / 2 * UNIT..][..UNIT], unit % 2 * 4);
            for at in 0..UNIT {
                to[at] = scale * f32::from(values[at] >> shift & 15) - minimum;
            }
        }
    }

    /// From a unit of the first block on.
    fn q5_k(from: &[u8], first: usize, to: &mut [f32]) {
        let blocks = from.as_chunks::<176>().0;
        for (unit, to) in (first..).zip(to.as_chunks_mut::<UNIT>().0) {
            let (block, unit) = (&blocks[unit / 8], unit % 8);
            let (head, values) = block.split_at(16);
            let (scale, minimum) = scale_and_minimum(head, unit);
            let (high, values) = values.split_at(UNIT);
            let (values, shift) = (&values[unit / 2 * UNIT..][..UNIT], unit % 2 * 4);
            for at in 0..UNIT {
                let bits = (values[at] >> shift & 15) | (high[at] >> unit & 1) << 4;
                to[at] = scale * f32::from(bits) - minimum;
            }
        }
    }

    /// From a unit of the first block on.
    fn q6_k(from: &[u8], first: usize, to: &mut [f32]) {
        let blocks = from.as_chunks::<210>().0;
        for (unit, to) in (first..).zip(to.as_chunks_mut::<UNIT>().0) {
            let (block, unit) = (&blocks[unit / 8], unit % 8);
            let (half_of, quarter) = (unit / 4, unit % 4);
            let low = &block[64 * half_of + quarter % 2 * UNIT..][..UNIT];
            let high = &block[128 + UNIT * half_of..][..UNIT];
            let (shift, high_shift) = (quarter / 2 * 4, 2 * quarter);
            let scale = half([block[208], block[209]]);
            let scales = [0, 1].map(|at| scale * f32::from(block[192 + 2 * unit + at].cast_signed()));
            for at in 0..UNIT {
                let bits = (low[at] >> shift & 15) | (high[at] >> high_shift & 3) << 4;
                to[at] = scales[at / 16] * f32::from(bits.cast_signed() - 32);
            }
        }
    }

    /// Elements of one block of NF4. The last byte may have one of them, and the last bytes may be missing.
    fn pairs(bytes: &[u8], scale: f32, to: &mut [f32]) {
        for (byte, to) in bytes.iter().zip(to.as_chunks_mut::<2>().0) {
            let [first, second] = PAIRS[usize::from(*byte)];
            *to = [first * scale, second * scale];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_its_value() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, f64::from(bits & 1023));
            let size = match exponent {
                0 => fraction * 2f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
            };
            let expected = if sign == 1 { -size } else { size };
            let found = f64::from(half(bytes));
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
        }
    }
}
