//! Sums of rows.

use candle_core::{DType, Tensor};

use super::{Gpu, Grid, Kernel, call, kernel};
use crate::error::Error;

const PARTS: Kernel = kernel!("sum.cu", "column_parts");
const SUM: Kernel = kernel!("sum.cu", "sum_parts");

/// Groups of rows, at most: enough for every GPU. Fixed: it decides the rounding.
const MOST: usize = 256;
/// Threads of a block, each of which has a column.
const COLUMNS: usize = 64;

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

/// The sum of the rows of `[rows, columns]`, which has no gaps.
///
/// # Errors
///
/// [`Error::Tensor`] when the device fails.
pub(crate) fn column_sums(gpu: &Gpu, rows: &Tensor) -> Result<Tensor, Error> {
    let (count, columns) = rows.dims2()?;
    let groups = groups(count);
    let parts = gpu.empty((groups.count, columns), DType::F32)?;
    let blocks = [columns.div_ceil(COLUMNS), groups.count, 1];
    let grid = Grid { blocks, threads: COLUMNS, shared: 0 };
    call!(gpu, PARTS, grid, rows, &parts, count, columns, groups.each)?;
    sum_parts(gpu, &parts, columns, rows.dtype())
}

/// The sum of the rows of `parts`, `[groups, columns]` of 32 bits and, between its rows, gaps or none. The result is of
/// the type that `gpu` computes in.
///
/// # Errors
///
/// [`Error::Tensor`] when the device fails.
pub(crate) fn sum_parts(
    gpu: &Gpu,
    parts: &Tensor,
    columns: usize,
    dtype: DType,
) -> Result<Tensor, Error> {
    let y = gpu.empty(columns, dtype)?;
    let (count, stride) = (parts.dims()[0], parts.stride()[0]);
    let grid = Grid { blocks: [columns.div_ceil(COLUMNS), 1, 1], threads: COLUMNS, shared: 0 };
    call!(gpu, SUM, grid, parts, &y, count, columns, stride)?;
    Ok(y)
}
