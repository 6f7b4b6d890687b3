//! The sums of squares of a tensor, one for each block, which the CPU adds up in order.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};
use candle_core::{Error, Tensor};

// SAFETY: `sums_of_squares` passes a contiguous tensor of `count` elements, and as many sums as the grid has blocks.
const SUM_OF_SQUARES: Kernel = unsafe { kernel!("norm.cu", "sum_of_squares") };

/// The most blocks. Fixed: it decides the rounding.
const MAX_BLOCKS: usize = 256;
/// The fewest elements of a block; its threads.
const MIN_ELEMENTS: usize = 16 * 1024;
const THREADS: usize = 256;

/// Returns the number of blocks for a tensor.
pub(super) fn blocks(tensor: &Tensor) -> usize {
    tensor.elem_count().div_ceil(elements_each(tensor))
}

fn elements_each(tensor: &Tensor) -> usize {
    tensor.elem_count().div_ceil(MAX_BLOCKS).max(MIN_ELEMENTS).next_multiple_of(8 * THREADS)
}

/// Writes the sums of squares of a contiguous tensor to `sums`, of 64 bits, one for each block.
pub(super) fn sums_of_squares(gpu: &Gpu, tensor: &Tensor, sums: &Tensor) -> Result<(), Error> {
    let grid = Grid { blocks: [blocks(tensor), 1, 1], threads: THREADS, shared: 0 };
    call!(gpu, SUM_OF_SQUARES, grid, tensor, sums, tensor.elem_count(), elements_each(tensor))
}
