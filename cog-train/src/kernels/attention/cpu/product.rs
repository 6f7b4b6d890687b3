//! Products of small matrices in a core's nearest cache, by tiles of the result that stay in registers.
//!
//! A general product first copies its operands into the order that it reads them in, which for blocks as small as
//! attention's costs as much as the arithmetic. Here the blocks are laid out so that nothing is left to copy: a number
//! of the left one meets a row of the right one. Each number of the result is summed in the order of the inner
//! dimension whatever the tile, so that processors differ in speed and in no bit.

use crate::kernels::simd::{Level, level, simd};

/// The columns of a product come in multiples of this.
pub(super) const COLUMNS: usize = 16;

/// The left factor. With `keys` and `queries` as its dimensions, it is zero where the key is over `diagonal` more than
/// the query, and that part is passed over.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Rows are keys, or whatever if the diagonal is [nowhere](NOWHERE); the inner dimension follows in memory.
    Rows { numbers: &'a [f32], stride: usize, diagonal: isize },
    /// Rows are queries and follow in memory; the inner dimension is keys.
    Columns { numbers: &'a [f32], stride: usize, diagonal: isize },
}

/// A diagonal above every key.
pub(super) const NOWHERE: isize = isize::MAX / 2;

/// `target = left right`, or that much more if `adds`. Target and right have `columns` columns and no gaps, which says
/// how many rows there are, and how many numbers in each sum.
pub(super) fn multiply(
    target: &mut [f32],
    left: Left<'_>,
    right: &[f32],
    columns: usize,
    adds: bool,
) {
    if level() == Level::Avx512 {
        wide(target, left, right, columns, adds);
    } else {
        narrow(target, left, right, columns, adds);
    }
}

simd! {
    /// 24 of 32 registers gather, so that each row of the right factor that is read serves six of the left.
    fn wide(target: &mut [f32], left: Left<'_>, right: &[f32], columns: usize, adds: bool) {
        let mut at = 0;
        while at + 64 <= columns {
            panel::<6, 64>(target, left, right, columns, at, adds);
            at += 64;
        }
        if at + 32 <= columns {
            panel::<6, 32>(target, left, right, columns, at, adds);
            at += 32;
        }
        if at < columns {
            panel::<6, COLUMNS>(target, left, right, columns, at, adds);
        }
    }

    /// For 16 registers of half the width.
    fn narrow(target: &mut [f32], left: Left<'_>, right: &[f32], columns: usize, adds: bool) {
        for at in (0..columns).step_by(COLUMNS) {
            panel::<4, COLUMNS>(target, left, right, columns, at, adds);
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
    adds: bool,
) {
    let (rows, inner) = (target.len() / columns, right.len() / columns);
    for first in (0..rows).step_by(M) {
        let count = M.min(rows - first);
        let target = &mut target[first * columns + at..];
        match left {
            Left::Rows { numbers, stride, diagonal } => {
                let from = first.saturating_add_signed(-diagonal).min(inner);
                // A last tile with too few rows computes some twice.
                let rows: [&[f32]; M] = std::array::from_fn(|row| {
                    &numbers[(first + row.min(count - 1)) * stride..][from..inner]
                });
                let number = |at| std::array::from_fn(|row: usize| rows[row][at]);
                let right = right.get(from * columns + at..).unwrap_or_default();
                tile::<M, N>(target, count, number, right, inner - from, columns, adds);
            }
            Left::Columns { numbers, stride, diagonal } => {
                let inner = (first + M).saturating_add_signed(diagonal).min(inner);
                // So do rows beyond the last, whose numbers are those of another key.
                let number = |at: usize| {
                    let row = &numbers[at * stride + first..];
                    row.first_chunk().copied().unwrap_or_else(|| {
                        std::array::from_fn(|at| row.get(at).copied().unwrap_or(0.0))
                    })
                };
                tile::<M, N>(target, count, number, &right[at..], inner, columns, adds);
            }
        }
    }
}

/// `M` rows and `N` columns of the product, of which `count` rows are kept.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn tile<const M: usize, const N: usize>(
    target: &mut [f32],
    count: usize,
    number: impl Fn(usize) -> [f32; M],
    right: &[f32],
    inner: usize,
    stride: usize,
    adds: bool,
) {
    let mut sums = [[0f32; N]; M];
    if adds {
        for (sums, row) in sums.iter_mut().zip(target.chunks(stride)).take(count) {
            sums.copy_from_slice(&row[..N]);
        }
    }
    for at in 0..inner {
        let right: &[f32; N] = right[at * stride..].first_chunk().expect("a row has its columns");
        let left = number(at);
        for row in 0..M {
            for column in 0..N {
                sums[row][column] = left[row].mul_add(right[column], sums[row][column]);
            }
        }
    }
    for (sums, row) in sums.iter().zip(target.chunks_mut(stride)).take(count) {
        row[..N].copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[expect(clippy::cast_possible_truncation, reason = "a number for a test")]
    fn draw(count: usize, at: u64) -> Vec<f32> {
        let mut stream = Rng::new(5, "test").at(at);
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    /// Sizes around the tiles', both layouts, every place of the diagonal, in both forms.
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
                    let number = |row: usize, at: usize| {
                        if seen(row, at) { left[row * inner + at] } else { 0.0 }
                    };
                    let numbers: Vec<f32> = if keys_are_rows {
                        (0..rows * inner).map(|at| number(at / inner, at % inner)).collect()
                    } else {
                        (0..rows * inner).map(|at| number(at % rows, at / rows)).collect()
                    };
                    let numbers = numbers.as_slice();
                    let left = if keys_are_rows {
                        Left::Rows { numbers, stride: inner, diagonal }
                    } else {
                        Left::Columns { numbers, stride: rows, diagonal }
                    };
                    for adds in [false, true] {
                        let (mut found, mut other) = (start.clone(), start.clone());
                        wide(&mut found, left, &right, columns, adds);
                        narrow(&mut other, left, &right, columns, adds);
                        for at in 0..rows * columns {
                            let (row, column) = (at / columns, at % columns);
                            let mut sum = if adds { f64::from(start[at]) } else { 0.0 };
                            for at in 0..inner {
                                let right = f64::from(right[at * columns + column]);
                                sum += f64::from(number(row, at)) * right;
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
