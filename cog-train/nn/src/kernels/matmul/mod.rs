//! Products of matrices of 32-bit floats on the CPU: large ones [block by block](blocked), those of [few] rows
//! by dot products, the others by the `gemm` crate.
//! Both use the micro-kernels of that crate, with AVX-512 where the processor has it. Large products of two matrices of bfloat16 take
//! its [pairs](pairs) where the processor multiplies them; else they are widened.
//!
//! The threads share rows and columns of the result and never a sum, so the bits do not depend on their number.
#![expect(unsafe_code, reason = "micro-kernels take pointers and strides")]

mod blocked;
mod blocks;
#[cfg(target_arch = "x86_64")]
mod dot;
mod factors;
mod few;
mod kernel;
mod lines;
mod pack;
mod pairs;

use std::ops::Range;

use gemm::Parallelism;

use super::output::{Destination, Output};
use super::sum;
use factors::extent;
use kernel::Kernel;

pub(crate) use factors::{Left, Matrix, Right, Rows};

/// Whether a product may use the threads of the pool, or runs within one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

/// The memory that a product is written to.
pub(crate) struct Target<'a> {
    destination: Destination<'a>,
    stride: usize,
    exact: bool,
    epilogue: Epilogue<'a>,
}

/// Terms that are added to a product once its sums are complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    /// One element for each column.
    pub(crate) bias: Option<&'a [f32]>,
    /// As long as the target, contiguous.
    pub(crate) to: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    pub(crate) const NONE: Self = Self { bias: None, to: None };

    fn is_none(&self) -> bool {
        self.bias.is_none() && self.to.is_none()
    }

    /// Adds the terms to elements of a row of the target, which begin at `start` and at `column`.
    fn add(&self, elements: &mut [f32], start: usize, column: usize) {
        if let Some(to) = self.to {
            sum::add_chunk(elements, &to[start..][..elements.len()]);
        }
        if let Some(bias) = self.bias {
            sum::add_chunk(elements, &bias[column..][..elements.len()]);
        }
    }
}

impl<'a> Target<'a> {
    /// An output with contiguous rows, for a product of `columns`.
    pub(crate) fn new(output: Output<'a>, columns: usize) -> Self {
        Self::to(Destination::Overwrite(output), columns)
    }

    /// Initialized memory that is written over; its rows begin `stride` elements apart.
    pub(crate) fn set(elements: &'a mut [f32], stride: usize) -> Self {
        Self::new(Output::over(elements), stride)
    }

    /// Memory that the product is added to, with contiguous rows for a product of `columns`.
    pub(crate) fn add(elements: &'a mut [f32], columns: usize) -> Self {
        Self::to(Destination::Accumulate(elements), columns)
    }

    /// The destination of a gradient, with contiguous rows for a product of `columns`.
    pub(crate) fn to(destination: Destination<'a>, columns: usize) -> Self {
        Self { destination, stride: columns, exact: false, epilogue: Epilogue::NONE }
    }

    /// Splits long sums, at a cost of some 6 % of the time, such that their rounding errors are about half.
    pub(crate) fn exact(self) -> Self {
        Self { exact: true, ..self }
    }

    /// Adds terms to the product. Their lengths are those of a row, and of the target.
    ///
    /// # Panics
    ///
    /// When they are not.
    pub(crate) fn with_epilogue(self, epilogue: Epilogue<'a>) -> Self {
        assert!(epilogue.bias.is_none_or(|bias| bias.len() == self.stride));
        assert!(epilogue.to.is_none_or(|to| to.len() == self.destination.len()));
        Self { epilogue, ..self }
    }
}

/// The target of a product of `rows` rows and some columns, which `matmul` has checked to be within it.
struct Region<'a> {
    /// The first element. Those that are not accumulated to may be uninitialized.
    first: *mut f32,
    stride: usize,
    /// Whether the product is added to the elements.
    accumulate: bool,
    exact: bool,
    epilogue: Epilogue<'a>,
}

impl Region<'_> {
    /// Adds the epilogue to elements whose sums are complete.
    ///
    /// # Safety
    ///
    /// 1. The rows and columns are in the target, which is valid for reads and writes there.
    /// 2. Nothing else accesses these elements meanwhile.
    /// 3. They are initialized.
    unsafe fn finish(&self, rows: Range<usize>, columns: Range<usize>) {
        if self.epilogue.is_none() {
            return;
        }
        for row in rows {
            let start = row * self.stride + columns.start;
            let first = self.first.wrapping_add(start);
            // SAFETY: 1. to 3. are the caller's promise.
            let elements = unsafe { std::slice::from_raw_parts_mut(first, columns.len()) };
            self.epilogue.add(elements, start, columns.start);
        }
    }
}

/// Computes `target = left right * scale`, or adds it to the target, and returns the elements of the target. They are
/// none where a product is written over a part of the target only.
///
/// # Panics
///
/// When the matrices do not fit together or the target is too short.
pub(crate) fn matmul<'a, 'l, 'r>(
    target: Target<'a>,
    left: impl Into<Left<'l>>,
    right: impl Into<Right<'r>>,
    scale: f32,
    threads: Threads,
) -> &'a mut [f32] {
    let (left, right) = (left.into(), right.into());
    let Target { mut destination, stride, exact, epilogue } = target;
    let (rows, columns) = (left.rows(), right.columns());
    assert_eq!(left.columns(), right.rows(), "the inner sizes of a product differ");
    assert!(stride >= columns && destination.len() >= extent(rows, columns, stride));
    if rows > 0 && columns > 0 {
        let (first, accumulate) = match &mut destination {
            Destination::Overwrite(output) => (output.as_mut_ptr(), false),
            Destination::Accumulate(elements) => (elements.as_mut_ptr(), true),
        };
        let region = Region { first, stride, accumulate, exact, epilogue };
        // SAFETY: 1. the rows and columns of the product are within the target: the assertion above; 2. the target is borrowed
        // mutably, so that nothing else reads or writes it and it overlaps neither factor; 3. it is initialized where it is
        // accumulated to: an output is overwritten, and then finished.
        unsafe {
            match left {
                Left::Matrix(left) => multiply(&region, left, right, scale, threads),
                Left::Bf16(left) => match Kernel::of_pairs() {
                    Some(kernel) if right.is_bf16() && blocked::fits(&left, &right, false) => {
                        pairs::of(&left, |left| {
                            blocked::multiply(&region, kernel, left, right, scale, threads);
                        });
                    }
                    _ => pairs::widened(&left, |left| {
                        multiply(&region, left, right, scale, threads);
                    }),
                },
            }
        }
    }
    match destination {
        Destination::Overwrite(mut output) => {
            if output.len() == rows * columns {
                // SAFETY: the product has written its rows and columns, which are all elements: with as many elements as that, and
                // at least `extent` of them, the rows are contiguous.
                unsafe { output.assume_filled() };
            }
            output.into_filled()
        }
        Destination::Accumulate(elements) => elements,
    }
}

/// Multiplies in 32 bits, and adds the epilogue.
///
/// # Safety
///
/// That of [`blocked::multiply`].
unsafe fn multiply(
    target: &Region<'_>,
    left: Matrix<'_>,
    right: Right<'_>,
    scale: f32,
    threads: Threads,
) {
    let (rows, columns) = (left.rows, right.columns());
    // SAFETY: the caller's promise; a product is finished when it has written all its elements.
    unsafe {
        if few::fits(&left, &right) {
            few::multiply(target, left, right, scale, threads);
            target.finish(0..rows, 0..columns);
        } else if blocked::fits(&left, &right, target.exact) || blocks::are_parts(&right) {
            blocked::multiply(target, Kernel::new(), left, right, scale, threads);
        } else {
            blocks::whole(right, |right| small(target, left, right, scale, threads));
            target.finish(0..rows, 0..columns);
        }
    }
}

/// Multiplies by the `gemm` crate, which has kernels for vectors and thin matrices.
///
/// # Safety
///
/// 1. The target is valid for reads and writes at the rows of `left` and the columns of `right`.
/// 2. Nothing else accesses these elements meanwhile, and they overlap neither factor.
/// 3. They are initialized if the target accumulates.
unsafe fn small(
    target: &Region<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    scale: f32,
    threads: Threads,
) {
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    let Region { first, stride, accumulate, .. } = *target;
    let row = |row: usize| first.wrapping_add(row * stride);
    if inner == 0 {
        if !accumulate {
            // SAFETY: the rows are within the target (1), which is ours alone (2). Zero bytes are a float.
            (0..rows).for_each(|at| unsafe { row(at).write_bytes(0, columns) });
        }
    } else {
        let parallelism = match threads {
            Threads::One => Parallelism::None,
            Threads::All => Parallelism::Rayon(0),
        };
        // SAFETY: 1. each factor reaches no further than its slice: `Matrix` has checked it; 2. the target is valid and ours
        // alone (1, 2); 3. it is read only where it is accumulated to (3).
        unsafe {
            gemm::gemm(
                rows,
                columns,
                inner,
                first,
                1,
                stride.cast_signed(),
                accumulate,
                left.elements.as_ptr(),
                left.stride.1.cast_signed(),
                left.stride.0.cast_signed(),
                right.elements.as_ptr(),
                right.stride.1.cast_signed(),
                right.stride.0.cast_signed(),
                1.0,
                scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_pairs;
