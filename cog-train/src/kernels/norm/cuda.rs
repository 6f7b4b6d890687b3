//! The sums of the squares of parts of a tensor, which the CPU adds up in order.

use candle_core::{DType, Tensor};

use crate::error::Error;
use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};

const SUM_OF_SQUARES: Kernel = kernel!("norm.cu", "sum_of_squares");

/// Parts, at most. Fixed: it decides the rounding.
const PARTS: usize = 256;
/// Numbers in a part, at least; threads of a block, which has a part.
const LEAST: usize = 16 * 1024;
const THREADS: usize = 256;

/// Of a tensor without gaps; the sums stay on the GPU.
pub(super) fn sums_of_squares(gpu: &Gpu, tensor: &Tensor) -> Result<Tensor, Error> {
    let count = tensor.elem_count();
    let each = count.div_ceil(PARTS).max(LEAST).next_multiple_of(4 * THREADS);
    let parts = count.div_ceil(each);
    let sums = gpu.empty(parts, DType::F64)?;
    let grid = Grid { blocks: [parts, 1, 1], threads: THREADS, shared: 0 };
    call!(gpu, SUM_OF_SQUARES, grid, tensor, &sums, count, each)?;
    Ok(sums)
}
