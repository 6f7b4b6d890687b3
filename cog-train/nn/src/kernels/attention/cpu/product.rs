//! Products of small matrices in a core's nearest cache, by tiles of the result that stay in registers.
//!
//! A general product first copies its operands into the order that it reads them in, which for blocks as small as
//! attention's costs as much as the arithmetic. Here the blocks are laid out so that nothing is left to copy: an element
//! of the left one is multiplied by a row of the right one. Each element of the result is summed in the order of the inner
//! dimension, in parts that begin at multiples of [`TERMS`] whatever the tile, so that processors differ in speed and in no bit.

use std::ops::Range;

use crate::kernels::simd::{Level, level, simd};

/// The columns of a product come in multiples of this.
pub(super) const COLUMNS: usize = 16;

/// The longest part of a sum that is added up in registers, one term after the other: rounding errors grow with its root.
const TERMS: usize = 16;

/// The left factor. With `keys` and `queries` as its dimensions, it is zero where the key is over `diagonal` more than
/// the query, and that part is passed over.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Rows are keys, or whatever if the diagonal is [nowhere](NOWHERE); the inner dimension follows in memory.
    Rows { elements: &'a [f32], stride: usize, diagonal: isize },
    /// Rows are queries and follow in memory; the inner dimension is keys.
    Columns { elements: &'a [f32], stride: usize, diagonal: isize },
}

/// A diagonal above every key.
pub(super) const NOWHERE: isize = isize::MAX / 2;

/// Computes `target = left right`, or accumulate it to the target if `accumulate`. Target and right are contiguous with `columns`
/// columns, which determines the number of rows and of terms of each sum.
pub(super) fn multiply(
    target: &mut [f32],
    left: Left<'_>,
    right: &[f32],
    columns: usize,
    accumulate: bool,
) {
    if level() == Level::Avx512 {
        wide(target, left, right, columns, accumulate);
    } else {
        narrow(target, left, right, columns, accumulate);
    }
}

simd! {
    /// 16 of 32 registers accumulate: enough to hide the latency of a multiplication.
    fn wide(target: &mut [f32], left: Left<'_>, right: &[f32], columns: usize, accumulate: bool) {
        let mut at = 0;
        while at + 64 <= columns {
            panel::<4, 64>(target, left, right, columns, at, accumulate);
            at += 64;
        }
        if at + 32 <= columns {
            panel::<4, 32>(target, left, right, columns, at, accumulate);
            at += 32;
        }
        if at < columns {
            panel::<4, COLUMNS>(target, left, right, columns, at, accumulate);
        }
    }

    /// For 16 registers of half the width.
    fn narrow(target: &mut [f32], left: Left<'_>, right: &[f32], columns: usize, accumulate: bool) {
        for at in (0..columns).step_by(COLUMNS) {
            panel::<4, COLUMNS>(target, left, right, columns, at, accumulate);
        }
    }
}

/// `N` columns of the product, from `at`.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn panel<const M: usize, const N: usize>(
    target: &mut [f32],
    left: Left<'_>,
    right: &[f32],
    columns: usize,
    at: usize,
    accumulate: bool,
) {
    let rows = target.len() / columns;
    let whole = rows - rows % M;
    for first in (0..whole).step_by(M) {
        let target = &mut target[first * columns + at..];
        tile::<M, N>(target, left, first, right, columns, at, accumulate);
    }
    // The last rows, which make no tile.
    for first in whole..rows {
        let target = &mut target[first * columns + at..];
        tile::<1, N>(target, left, first, right, columns, at, accumulate);
    }
}

/// `N` columns of the product from `at`, and `M` rows from `first`, which `target` begins with.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn tile<const M: usize, const N: usize>(
    target: &mut [f32],
    left: Left<'_>,
    first: usize,
    right: &[f32],
    columns: usize,
    at: usize,
    accumulate: bool,
) {
    let inner = right.len() / columns;
    match left {
        Left::Rows { elements, stride, diagonal } => {
            let from = first.saturating_add_signed(-diagonal).min(inner);
            for (part, terms) in parts(from, inner).enumerate() {
                let mut rows: [&[f32]; M] = [&[]; M];
                let all = elements[first * stride..].chunks(stride);
                for (row, elements) in rows.iter_mut().zip(all) {
                    *row = &elements[terms.clone()];
                }
                let right = right[terms.start * columns..].chunks_exact(columns);
                let accumulate = accumulate || part > 0;
                // Iterators that run together: the loop over them checks no bounds.
                if M == 4 {
                    let (low, high) = (rows[0].iter().zip(rows[1]), rows[2].iter().zip(rows[3]));
                    let elements = low.zip(high).map(|((a, b), (c, d))| {
                        let mut all = [0.0; M];
                        all.copy_from_slice(&[*a, *b, *c, *d]);
                        all
                    });
                    sums::<M, N>(target, elements.zip(right), at, columns, accumulate);
                } else {
                    let elements = rows[0].iter().map(|element| [*element; M]);
                    sums::<M, N>(target, elements.zip(right), at, columns, accumulate);
                }
            }
        }
        Left::Columns { elements, stride, diagonal } => {
            let inner = (first + M).saturating_add_signed(diagonal).min(inner);
            for (part, terms) in parts(0, inner).enumerate() {
                let elements =
                    elements[terms.start * stride..terms.end * stride].chunks_exact(stride);
                let elements = elements.map(|row| *row[first..].first_chunk().expect("M rows"));
                let right = right[terms.start * columns..].chunks_exact(columns);
                let accumulate = accumulate || part > 0;
                sums::<M, N>(target, elements.zip(right), at, columns, accumulate);
            }
        }
    }
}

/// Cuts terms at multiples of [`TERMS`] into parts, one at least.
fn parts(from: usize, end: usize) -> impl Iterator<Item = Range<usize>> {
    let first = from / TERMS;
    let last = end.div_ceil(TERMS).max(first + 1);
    (first..last).map(move |part| from.max(part * TERMS)..end.min((part + 1) * TERMS))
}

/// Computes a part of the sums of a tile, of pairs of `M` elements and a row.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn sums<'a, const M: usize, const N: usize>(
    target: &mut [f32],
    pairs: impl Iterator<Item = ([f32; M], &'a [f32])>,
    from: usize,
    stride: usize,
    accumulate: bool,
) {
    let mut sums = [[0f32; N]; M];
    for (left, right) in pairs {
        let right: &[f32; N] = right[from..].first_chunk().expect("N columns");
        for row in 0..M {
            for column in 0..N {
                sums[row][column] = left[row].mul_add(right[column], sums[row][column]);
            }
        }
    }
    for row in 0..M {
        let target: &mut [f32; N] = target[row * stride..].first_chunk_mut().expect("N columns");
        if accumulate {
            for column in 0..N {
                sums[row][column] += target[column];
            }
        }
        *target = sums[row];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[expect(clippy::cast_possible_truncation, reason = "a value for a test")]
    fn draw(count: usize, at: u64) -> Vec<f32> {
        let mut stream = Rng::new(5, "test").at(at);
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    /// Sizes around the tiles', both layouts, every position of the diagonal, in both versions.
    #[test]
    fn products_are_sums_of_products() {
        for (rows, columns, inner) in [(1, 16, 1), (5, 32, 7), (64, 80, 13), (13, 112, 64)] {
            for diagonal in [NOWHERE, 0, 5, -4, -70] {
                let (left, right) = (draw(rows * inner, 0), draw(inner * columns, 1));
                let start = draw(rows * columns, 2);
                // Keys are rows in the one and the inner dimension in the other.
                for keys_are_rows in [true, false] {
                    let seen = |row: usize, at: usize| {
                        let (key, query) = if keys_are_rows { (row, at) } else { (at, row) };
                        key.cast_signed() <= query.cast_signed() + diagonal
                    };
                    let element = |row: usize, at: usize| {
                        if seen(row, at) { left[row * inner + at] } else { 0.0 }
                    };
                    let elements: Vec<f32> = if keys_are_rows {
                        (0..rows * inner).map(|at| element(at / inner, at % inner)).collect()
                    } else {
                        (0..rows * inner).map(|at| element(at % rows, at / rows)).collect()
                    };
                    let elements = elements.as_slice();
                    let left = if keys_are_rows {
                        Left::Rows { elements, stride: inner, diagonal }
                    } else {
                        Left::Columns { elements, stride: rows, diagonal }
                    };
                    for accumulate in [false, true] {
                        let (mut found, mut other) = (start.clone(), start.clone());
                        wide(&mut found, left, &right, columns, accumulate);
                        narrow(&mut other, left, &right, columns, accumulate);
                        for at in 0..rows * columns {
                            let (row, column) = (at / columns, at % columns);
                            let mut sum = if accumulate { f64::from(start[at]) } else { 0.0 };
                            for at in 0..inner {
                                let right = f64::from(right[at * columns + column]);
                                sum += f64::from(element(row, at)) * right;
                            }
                            assert!((f64::from(found[at]) - sum).abs() < 1e-4);
                            assert_eq!(found[at].to_bits(), other[at].to_bits());
                        }
                    }
                }
            }
        }
    }
}
