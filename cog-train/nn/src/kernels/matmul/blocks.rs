//! Panels of a matrix in blocks of few bits, or of 16-bit floats, which are decoded as they are packed: of the matrix some rows at a
//! time are floats of 32 bits.

use std::ops::Range;

use rayon::prelude::*;

use super::{Matrix, Right, pack};
use crate::kernels::quantized::Blocks;
use crate::kernels::scratch::scratch;

/// The most elements of blocks that are decoded at a time: those of a tile of panels.
const TILE: usize = 512 * 512;

/// Whether a matrix is decoded part by part in any product: one in blocks of few bits that is larger than a tile.
pub(super) fn are_parts(right: &Right<'_>) -> bool {
    match right {
        Right::Blocks { blocks, .. } => {
            let (outputs, inputs) = blocks.dims();
            !blocks.are_floats() && outputs * inputs > TILE
        }
        Right::Matrix(_) => false,
    }
}

/// Packs a part of the right factor into panels of `width` columns, one panel behind the other. `transposed` says that
/// the columns of the factor are the rows of the blocks.
pub(super) fn panels(
    room: &mut [f32],
    width: usize,
    blocks: &Blocks<'_>,
    transposed: bool,
    depth: Range<usize>,
    columns: Range<usize>,
) {
    let decode = |row, from, to: &mut [f32]| blocks.decode(row, from, to);
    if transposed {
        by_columns(room, width, depth, columns, decode);
    } else {
        by_rows(room, width, depth, columns, decode);
    }
}

/// Packs columns that `decode` writes a part of at a time: it gets the column and the first element.
pub(super) fn by_columns(
    room: &mut [f32],
    width: usize,
    depth: Range<usize>,
    columns: Range<usize>,
    decode: impl Fn(usize, usize, &mut [f32]),
) {
    let panels = room.chunks_exact_mut(width * depth.len());
    let firsts = columns.clone().step_by(width);
    scratch([width * depth.len()], |[decoded]| {
        for (panel, first) in panels.zip(firsts) {
            let lines = width.min(columns.end - first);
            let decoded = &mut decoded[..lines * depth.len()];
            for (column, elements) in (first..).zip(decoded.chunks_exact_mut(depth.len())) {
                decode(column, depth.start, elements);
            }
            pack::panels(panel, width, decoded, (lines, depth.len()), (depth.len(), 1));
        }
    });
}

/// Packs rows that `decode` writes a part of at a time: it gets the row and the first element.
pub(super) fn by_rows(
    room: &mut [f32],
    width: usize,
    depth: Range<usize>,
    columns: Range<usize>,
    decode: impl Fn(usize, usize, &mut [f32]),
) {
    let size = width * depth.len();
    scratch([columns.len()], |[decoded]| {
        for (at, row) in depth.enumerate() {
            decode(row, columns.start, decoded);
            for (panel, elements) in room.chunks_exact_mut(size).zip(decoded.chunks(width)) {
                let to = &mut panel[at * width..][..width];
                to[..elements.len()].copy_from_slice(elements);
                to[elements.len()..].fill(0.0);
            }
        }
    });
}

/// Calls `work` with a right factor as a matrix of 32 bits. It is for matrices that are no larger than a tile, and for floats of 16
/// bits in gradients of few rows, whose columns are not contiguous.
pub(super) fn whole(right: Right<'_>, work: impl FnOnce(Matrix<'_>)) {
    let (blocks, transposed) = match right {
        Right::Matrix(matrix) => return work(matrix),
        Right::Blocks { blocks, transposed } => (blocks, transposed),
    };
    let (rows, columns) = blocks.dims();
    let mut elements = vec![0.0; rows * columns];
    let lines = elements.par_chunks_mut(columns).enumerate();
    lines.for_each(|(row, elements)| blocks.decode(row, 0, elements));
    let matrix = Matrix::new(&elements, rows, columns);
    work(if transposed { matrix.t() } else { matrix });
}
