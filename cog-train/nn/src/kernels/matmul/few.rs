//! Products of a few rows with a matrix whose columns are contiguous, such as those of a weight: one dot product for each
//! element. A column is read, or decoded, once for all rows, and is not packed.

use rayon::prelude::*;

use super::{Matrix, Region, Right, Threads};
use crate::kernels::scratch::scratch;
use crate::kernels::simd::{self, simd};

/// Columns of one task.
const COLUMNS: usize = 64;

/// Whether a product has few rows and contiguous columns.
pub(super) fn fits(left: &Matrix<'_>, right: &Right<'_>) -> bool {
    left.rows < 12 && left.stride.1 == 1 && right.stride().0 == 1 && left.columns >= simd::LANES
}

/// Computes `target = left right * scale`, or adds it to the target.
///
/// # Safety
///
/// 1. The target is valid for reads and writes at the rows of `left` and the columns of `right`.
/// 2. Nothing else accesses these elements meanwhile, and they overlap neither factor.
/// 3. They are initialized if the target accumulates.
pub(super) unsafe fn multiply(
    target: &Region<'_>,
    left: Matrix<'_>,
    right: Right<'_>,
    scale: f32,
    threads: Threads,
) {
    let (rows, columns) = (left.rows, right.columns());
    scratch([rows * columns], |[products]| {
        let fill = |(at, products): (usize, &mut [f32])| {
            some_columns(&left, &right, at * COLUMNS, products);
        };
        match threads {
            Threads::One => products.chunks_mut(COLUMNS * rows).enumerate().for_each(fill),
            Threads::All => products.par_chunks_mut(COLUMNS * rows).enumerate().for_each(fill),
        }
        for (column, products) in products.chunks_exact(rows).enumerate() {
            for (row, product) in products.iter().enumerate() {
                let element = target.first.wrapping_add(row * target.stride + column);
                // SAFETY: 1. the element is within the target, which is valid (1) and ours alone (2); it is read only where it is
                // initialized (3).
                unsafe {
                    let before = if target.accumulate { *element } else { 0.0 };
                    element.write(product.mul_add(scale, before));
                }
            }
        }
    });
}

/// Computes all rows of some columns, column by column.
fn some_columns(left: &Matrix<'_>, right: &Right<'_>, first: usize, products: &mut [f32]) {
    let inner = left.columns;
    match right {
        Right::Matrix(right) => dots(left, right, first, products),
        Right::Blocks { blocks, .. } => scratch([inner], |[column]| {
            for (at, products) in products.chunks_exact_mut(left.rows).enumerate() {
                blocks.decode(first + at, 0, column);
                dots(left, &Matrix::new(column, 1, inner).t(), 0, products);
            }
        }),
    }
}

simd! {
    /// Computes all rows of some columns, column by column.
    fn dots(left: &Matrix<'_>, right: &Matrix<'_>, first: usize, products: &mut [f32]) {
        let inner = left.columns;
        for (at, products) in products.chunks_exact_mut(left.rows).enumerate() {
            let column = &right.from(0, first + at)[..inner];
            for (row, product) in products.iter_mut().enumerate() {
                *product = simd::dot(&left.from(row, 0)[..inner], column);
            }
        }
    }
}
