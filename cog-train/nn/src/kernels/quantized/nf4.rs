//! NF4: the code book, and blocks of it from floats and back.

use rayon::prelude::*;

use crate::kernels::dynamic_map;
use crate::kernels::simd::simd;

/// The values of the 16 codes (Dettmers et al., "QLoRA", 2023, appendix E).
pub(super) const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Elements of a scale.
pub(super) const BLOCK: usize = 64;
/// Scales of a scale of scales.
pub(super) const NESTED: usize = 256;

/// The smallest scale that a block is divided by.
const SMALLEST: f32 = 1e-38;

/// A matrix in NF4 with double quantization, as bitsandbytes makes it.
pub(super) struct Nf4 {
    pub(super) codes: Vec<u8>,
    pub(super) scale_codes: Vec<u8>,
    pub(super) map: Vec<f32>,
    pub(super) scales: Vec<f32>,
    pub(super) offset: f32,
}

/// Quantizes elements, and the scales of their blocks.
pub(super) fn quantize(elements: &[f32]) -> Nf4 {
    let blocks = elements.par_chunks(BLOCK);
    let scales: Vec<f32> = blocks.clone().map(largest).collect();
    let codes = blocks.zip(&scales).flat_map_iter(|(block, scale)| pack(block, *scale)).collect();
    let map = dynamic_map::signed();
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a mean")]
    let offset =
        (scales.iter().map(|scale| f64::from(*scale)).sum::<f64>() / scales.len() as f64) as f32;
    let rest: Vec<f32> = scales.iter().map(|scale| scale - offset).collect();
    let groups = rest.chunks(NESTED).map(|group| (group, largest(group)));
    let (mut scale_codes, mut nested) = (Vec::with_capacity(rest.len()), Vec::new());
    for (group, scale) in groups {
        nested.push(scale);
        let inverse = 1.0 / scale.max(SMALLEST);
        scale_codes.extend(group.iter().map(|element| nearest(&map, element * inverse)));
    }
    Nf4 { codes, scale_codes, map, scales: nested, offset }
}

/// Returns the largest absolute value.
fn largest(elements: &[f32]) -> f32 {
    elements.iter().fold(0.0, |largest, element| element.abs().max(largest))
}

/// Returns the codes of a block, two a byte.
fn pack(block: &[f32], scale: f32) -> impl Iterator<Item = u8> {
    let inverse = 1.0 / scale.max(SMALLEST);
    // bitsandbytes divides the elements of a last block that is not full.
    let full = block.len() == BLOCK;
    let code = move |element: f32| {
        let scaled = if full { element * inverse } else { element / scale.max(SMALLEST) };
        code(scaled)
    };
    block.chunks(2).map(move |pair| code(pair[0]) << 4 | code(pair.get(1).copied().unwrap_or(0.0)))
}

/// Returns the code that is nearest; of two the lower one.
fn code(scaled: f32) -> u8 {
    let below =
        CODE.array_windows().map(|[low, high]| u8::from(scaled > f32::midpoint(*low, *high)));
    below.sum()
}

/// Returns the index of the nearest value of a sorted map; of two the lower one.
fn nearest(map: &[f32], element: f32) -> u8 {
    let above = map.partition_point(|value| *value < element).min(map.len() - 1);
    let below = above.saturating_sub(1);
    let at = if element - map[below] <= map[above] - element { below } else { above };
    u8::try_from(at).unwrap_or(u8::MAX)
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

/// Decodes whole bytes, from the element `first` of the matrix on.
pub(super) fn decode(bytes: &[u8], scales: Scale<'_>, first: usize, to: &mut [f32]) {
    let bytes = &bytes[first / 2..];
    let step = scales.block;
    let mut at = first;
    let mut to = to;
    while !to.is_empty() {
        // To the end of the block.
        let count = to.len().min(step - at % step);
        let (now, rest) = to.split_at_mut(count);
        let from = &bytes[(at - first) / 2..];
        pairs(&from[..from.len().min(count / 2)], scales.at(at), now);
        (at, to) = (at + count, rest);
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

simd! {
    /// Elements of one block of NF4. The last byte may have one of them, and the last bytes may be missing.
    fn pairs(bytes: &[u8], scale: f32, to: &mut [f32]) {
        for (byte, to) in bytes.iter().zip(to.as_chunks_mut::<2>().0) {
            let [first, second] = PAIRS[usize::from(*byte)];
            *to = [first * scale, second * scale];
        }
    }
}
