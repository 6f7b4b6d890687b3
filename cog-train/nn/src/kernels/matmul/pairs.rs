//! Products of two matrices of bfloat16: an element of a factor is a pair of consecutive terms of a sum, in the 32 bits of a
//! float. The first term is in the low half, and zero stands for a missing last one.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::factors::extent;
use super::{Matrix, blocks};
use crate::kernels::host;
use crate::kernels::quantized::Blocks;
use crate::kernels::scratch::scratch;
use crate::kernels::simd::simd;

/// Calls `work` with the pairs of a left factor, whose rows or columns are contiguous. Rows of pairs are borrowed if they can be.
pub(super) fn of(left: &Matrix<'_, bf16>, work: impl FnOnce(Matrix<'_>)) {
    let (rows, inner) = (left.rows, left.columns);
    let count = inner.div_ceil(2);
    if left.stride.1 == 1 {
        if let Some(elements) = borrowed(left) {
            let stride = left.stride.0 / 2;
            return work(Matrix { elements, rows, columns: count, stride: (stride, 1) });
        }
        scratch([rows * count], |[pairs]| {
            pairs.par_chunks_mut(count).enumerate().for_each(|(row, pairs)| {
                consecutive(&left.from(row, 0)[..inner], pairs);
            });
            work(Matrix::new(pairs, rows, count));
        });
    } else {
        scratch([rows * count], |[pairs]| {
            pairs.par_chunks_mut(rows).enumerate().for_each(|(at, pairs)| {
                let first = &left.from(0, 2 * at)[..rows];
                interleaved(
                    first,
                    (2 * at + 1 < inner).then(|| &left.from(0, 2 * at + 1)[..rows]),
                    pairs,
                );
            });
            work(Matrix::new(pairs, count, rows).t());
        });
    }
}

/// Returns the elements as pairs where each row has an even number of them and begins at the address of a pair.
fn borrowed<'a>(left: &Matrix<'a, bf16>) -> Option<&'a [f32]> {
    let length = extent(left.rows, left.columns, left.stride.0);
    if !(left.columns.is_multiple_of(2) && left.stride.0.is_multiple_of(2)) {
        return None;
    }
    // SAFETY: two bfloat16 have 32 bits, of which any are a float.
    match unsafe { left.elements[..length].align_to::<f32>() } {
        ([], pairs, []) => Some(pairs),
        _ => None,
    }
}

/// Packs pairs of a right factor into panels, as [`blocks::panels`].
pub(super) fn panels(
    room: &mut [f32],
    width: usize,
    blocks: &Blocks<'_>,
    transposed: bool,
    depth: Range<usize>,
    columns: Range<usize>,
) {
    let elements = blocks.as_bf16().unwrap_or_default();
    let (rows, length) = blocks.dims();
    if transposed {
        blocks::by_columns(room, width, depth, columns, |column, pair, to| {
            let elements = &elements[column * length..][..length][2 * pair..];
            consecutive(&elements[..elements.len().min(2 * to.len())], to);
        });
    } else {
        blocks::by_rows(room, width, depth, columns, |pair, column, to| {
            let row = |row: usize| &elements[row * length + column..][..to.len()];
            let second = 2 * pair + 1;
            let (first, second) = (row(2 * pair), (second < rows).then(|| row(second)));
            interleaved(first, second, to);
        });
    }
}

/// Calls `work` with a left factor in 32 bits.
pub(super) fn widened(left: &Matrix<'_, bf16>, work: impl FnOnce(Matrix<'_>)) {
    let &Matrix { elements, rows, columns, stride } = left;
    let length = if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * stride.0 + (columns - 1) * stride.1 + 1
    };
    scratch([length], |[wide]| {
        host::widen(&elements[..length], wide);
        work(Matrix { elements: wide, rows, columns, stride });
    });
}

/// Returns a pair.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn pair(first: bf16, second: bf16) -> f32 {
    f32::from_bits(u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16)
}

simd! {
    /// Writes the pairs of consecutive elements, of which the last may have one alone.
    fn consecutive(from: &[bf16], to: &mut [f32]) {
        let (pairs, last) = from.as_chunks::<2>();
        for (to, [first, second]) in to.iter_mut().zip(pairs) {
            *to = pair(*first, *second);
        }
        if let ([last], Some(to)) = (last, to.last_mut()) {
            *to = pair(*last, bf16::ZERO);
        }
    }

    /// Writes the pairs of the elements of two rows.
    fn interleaved(first: &[bf16], second: Option<&[bf16]>, to: &mut [f32]) {
        match second {
            Some(second) => {
                for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
                    *to = pair(*first, *second);
                }
            }
            None => {
                for (to, first) in to.iter_mut().zip(first) {
                    *to = pair(*first, bf16::ZERO);
                }
            }
        }
    }
}
