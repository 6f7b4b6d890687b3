//! Blocks to floats, 32 elements at a time.

use half::{bf16, f16};

use super::layout::Packing;
use super::nf4::{self, Scale};
use crate::kernels::floats::{widen_bf16, widen_f16, widened};
use crate::kernels::simd::simd;

/// Elements that are decoded together. Each block has some of them, and a scale or more of its own.
pub(super) const UNIT: usize = 32;

/// The blocks of a matrix, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'a> {
    pub(super) elements: Elements<'a>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

/// The elements as they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Elements<'a> {
    Packed(Packed<'a>),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

/// Blocks of few bits, and the scales of NF4.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) packing: Packing,
    pub(super) bytes: &'a [u8],
    pub(super) scales: Scale<'a>,
}

impl<'a> Blocks<'a> {
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
        let start = row * self.inputs + column;
        match self.elements {
            Elements::Packed(packed) => packed.decode(start, to),
            Elements::Bf16(elements) => widen_bf16(&elements[start..][..to.len()], to),
            Elements::F16(elements) => widen_f16(&elements[start..][..to.len()], to),
        }
    }

    /// A matrix of bfloat16 with so many rows and columns.
    pub(crate) fn of_bf16(elements: &'a [bf16], (outputs, inputs): (usize, usize)) -> Self {
        Self { elements: Elements::Bf16(elements), outputs, inputs }
    }

    /// Returns the elements of a matrix of bfloat16, row after row.
    pub(crate) fn as_bf16(&self) -> Option<&'a [bf16]> {
        match self.elements {
            Elements::Bf16(elements) => Some(elements),
            Elements::Packed(_) | Elements::F16(_) => None,
        }
    }

    /// Whether the elements are floats, which are widened and not decoded.
    pub(crate) fn are_floats(&self) -> bool {
        !matches!(self.elements, Elements::Packed(_))
    }
}

impl Packed<'_> {
    /// Decodes elements from the element `start` of the matrix on.
    fn decode(&self, start: usize, to: &mut [f32]) {
        let (mut start, mut to) = (start, to);
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
        let Self { packing, bytes, scales } = *self;
        let units = packing.block_len() / UNIT;
        let from = &bytes[(first / units * packing.block_bytes()).min(bytes.len())..];
        match packing {
            Packing::Q4_0 => q4_0(from, to),
            Packing::Q4_1 => q4_1(from, to),
            Packing::Q8_0 => q8_0(from, to),
            Packing::Q4K => q4_k(from, first % units, to),
            Packing::Q5_0 => q5_0(from, to),
            Packing::Q5_1 => q5_1(from, to),
            Packing::Q5K => q5_k(from, first % units, to),
            Packing::Q6K => q6_k(from, first % units, to),
            Packing::Nf4 => nf4::decode(bytes, scales, first * UNIT, to),
        }
    }
}

#[expect(clippy::inline_always, reason = "it is compiled for the CPU features of its caller")]
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    widened(u16::from_le_bytes(bytes))
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
}
