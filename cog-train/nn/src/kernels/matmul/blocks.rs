//! Panels of a matrix in blocks of few bits, which are decoded as they are packed: of the matrix some rows at a time are floats, and never
//! all of it.

use std::ops::Range;

use super::pack;
use crate::kernels::quantized::Blocks;
use crate::kernels::scratch::scratch;

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
    let panels = room.chunks_exact_mut(width * depth.len());
    if transposed {
        let firsts = columns.clone().step_by(width);
        scratch([width * depth.len()], |[decoded]| {
            for (panel, first) in panels.zip(firsts) {
                let lines = width.min(columns.end - first);
                let decoded = &mut decoded[..lines * depth.len()];
                for (row, elements) in (first..).zip(decoded.chunks_exact_mut(depth.len())) {
                    blocks.decode(row, depth.start, elements);
                }
                pack::panels(panel, width, decoded, (lines, depth.len()), (depth.len(), 1));
            }
        });
    } else {
        let size = width * depth.len();
        scratch([columns.len()], |[decoded]| {
            for (at, row) in depth.enumerate() {
                blocks.decode(row, columns.start, decoded);
                for (panel, elements) in room.chunks_exact_mut(size).zip(decoded.chunks(width)) {
                    let to = &mut panel[at * width..][..width];
                    to[..elements.len()].copy_from_slice(elements);
                    to[elements.len()..].fill(0.0);
                }
            }
        });
    }
}
