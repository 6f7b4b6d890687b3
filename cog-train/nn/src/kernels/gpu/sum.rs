//! Adds up rows.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{DType, Error, Tensor};

use super::{Gpu, Grid, Kernel, call, ensure, kernel};

// SAFETY: `column_sums` and `sum_partials` have checked that the rows are contiguous, and allocate the sums.
const PARTIALS: Kernel = unsafe { kernel!("sum.cu", "column_partials") };
// SAFETY: as above.
const SUM: Kernel = unsafe { kernel!("sum.cu", "sum_partials") };

/// The most groups of rows: enough for every GPU. Fixed: it decides the rounding.
const MOST: usize = 512;
/// Threads of a block, each of which has a column.
const COLUMNS: usize = 64;
/// Threads of a warp, each of which has a column in the second pass.
const LANES: usize = 32;

/// A partition of rows. Each group is added up by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) count: usize,
    /// Rows of a group.
    pub(crate) each: usize,
}

/// Partitions rows.
pub(crate) fn groups(rows: usize) -> Groups {
    let each = rows.div_ceil(MOST).max(1);
    Groups { count: rows.div_ceil(each), each }
}

/// Adds up the rows of `[rows, columns]`, contiguous and of the type that `gpu` computes in, in 32 bits.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn column_sums(gpu: &Gpu, rows: &Tensor) -> Result<Tensor, Error> {
    let (count, columns) = rows.dims2()?;
    ensure(gpu.supports(rows) && rows.is_contiguous(), &PARTIALS)?;
    let groups = groups(count);
    let partials = gpu.empty((groups.count, columns), DType::F32)?;
    let blocks = [columns.div_ceil(COLUMNS), groups.count, 1];
    let grid = Grid { blocks, threads: COLUMNS, shared: 0 };
    call!(gpu, PARTIALS, grid, rows, &partials, count, columns, groups.each)?;
    sum_partials(gpu, &partials)
}

/// Adds up the rows of `partials`, `[groups, columns]`, contiguous and of 32 bits.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn sum_partials(gpu: &Gpu, partials: &Tensor) -> Result<Tensor, Error> {
    let (count, columns) = partials.dims2()?;
    ensure(partials.dtype() == DType::F32 && partials.is_contiguous(), &SUM)?;
    let y = gpu.empty(columns, DType::F32)?;
    let grid = Grid { blocks: [columns.div_ceil(LANES), 1, 1], threads: 8 * LANES, shared: 0 };
    call!(gpu, SUM, grid, partials, &y, count, columns)?;
    Ok(y)
}
