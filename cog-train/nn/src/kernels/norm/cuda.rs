//! The sums of the squares of parts of a tensor, which the CPU adds up in order.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};
use candle_core::{Error, Tensor};

// SAFETY: `sums_of_squares` passes a contiguous tensor of `count` elements, and as many sums as the grid has blocks.
const SUM_OF_SQUARES: Kernel = unsafe { kernel!("norm.cu", "sum_of_squares") };

/// The most parts. Fixed: it decides the rounding.
const PARTS: usize = 256;
/// The fewest elements of a part; threads of a block, which adds up a part.
const LEAST: usize = 16 * 1024;
const THREADS: usize = 256;

/// Returns the number of sums of a tensor.
pub(super) fn parts(tensor: &Tensor) -> usize {
    tensor.elem_count().div_ceil(elements_each(tensor))
}

fn elements_each(tensor: &Tensor) -> usize {
    tensor.elem_count().div_ceil(PARTS).max(LEAST).next_multiple_of(8 * THREADS)
}

/// Writes the sums of a contiguous tensor's parts to `sums`, of 64 bits.
pub(super) fn sums_of_squares(gpu: &Gpu, tensor: &Tensor, sums: &Tensor) -> Result<(), Error> {
    let grid = Grid { blocks: [parts(tensor), 1, 1], threads: THREADS, shared: 0 };
    call!(gpu, SUM_OF_SQUARES, grid, tensor, sums, tensor.elem_count(), elements_each(tensor))
}
