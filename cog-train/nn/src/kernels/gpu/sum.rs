//! Sums of rows.

use candle_core::{DType, Error, Tensor};

use super::{Gpu, Grid, Kernel, call, kernel};

const PARTS: Kernel = kernel!("sum.cu", "column_parts");
const SUM: Kernel = kernel!("sum.cu", "sum_parts");

/// Groups of rows, at most: enough for every GPU. Fixed: it decides the rounding.
const MOST: usize = 512;
/// Threads of a block, each of which has a column.
const COLUMNS: usize = 64;
/// Threads of a warp, each of which has a column in the second pass.
const LANES: usize = 32;

/// Rows in groups, each of which is added up by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) count: usize,
    /// Rows of one.
    pub(crate) each: usize,
}

pub(crate) fn groups(rows: usize) -> Groups {
    let each = rows.div_ceil(MOST).max(1);
    Groups { count: rows.div_ceil(each), each }
}

/// The sum of the rows of `[rows, columns]`, which has no gaps, in 32 bits.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn column_sums(gpu: &Gpu, rows: &Tensor) -> Result<Tensor, Error> {
    let (count, columns) = rows.dims2()?;
    let groups = groups(count);
    let parts = gpu.empty((groups.count, columns), DType::F32)?;
    let blocks = [columns.div_ceil(COLUMNS), groups.count, 1];
    let grid = Grid { blocks, threads: COLUMNS, shared: 0 };
    call!(gpu, PARTS, grid, rows, &parts, count, columns, groups.each)?;
    sum_parts(gpu, &parts)
}

/// The sum of the rows of `parts`, `[groups, columns]` of 32 bits without gaps, as it is of 32 bits.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn sum_parts(gpu: &Gpu, parts: &Tensor) -> Result<Tensor, Error> {
    let (count, columns) = parts.dims2()?;
    let y = gpu.empty(columns, DType::F32)?;
    let grid = Grid { blocks: [columns.div_ceil(LANES), 1, 1], threads: 8 * LANES, shared: 0 };
    call!(gpu, SUM, grid, parts, &y, count, columns)?;
    Ok(y)
}
