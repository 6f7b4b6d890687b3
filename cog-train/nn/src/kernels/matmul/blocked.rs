//! Large products, tile by tile of the target.
//!
//! A thread packs the columns of the right matrix that its tile needs into panels, which stay in its second cache while
//! it reads the rows of the left one (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008). Threads
//! share tiles and nothing else, so that a product has one beginning and one end. How a sum is cut into parts depends on
//! its length alone: the bits depend neither on the threads nor on the number of rows and columns.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::Kernel;
use super::lines::Lines;
use super::pack::panels;
use super::{Matrix, Region, Right, Threads, blocks, pairs};
use crate::kernels::scratch::scratch;

/// The longest part of a sum whose panels are packed at a time.
const DEPTH: usize = 512;
/// The longest part of an exact sum that is added up in registers, one term after the other: rounding errors grow with its
/// root.
const TERMS: usize = 160;
/// The most columns of a tile: with [`DEPTH`], 1 MiB of panels.
const COLUMNS: usize = 512;
/// The most rows of a tile.
const ROWS: usize = 1024;
/// The cost of packing an element, in multiplications.
const PACK: usize = 16;
/// The cost of widening an element and packing it, and that of decoding one.
const WIDEN: usize = 24;
const DECODE: usize = 48;
/// With so many rows or fewer, contiguous columns are not packed.
const FEW_ROWS: usize = 96;
/// Products of fewer multiplications are for `gemm`.
const SMALL: usize = 1 << 18;

/// Whether a product is large enough for tiles, or is to be exact and has sums that are split.
pub(super) fn fits<T>(left: &Matrix<'_, T>, right: &Right<'_>, exact: bool) -> bool {
    let (rows, columns, inner) = (left.rows, right.columns(), left.columns);
    let steps = |stride: (usize, usize)| stride.0 == 1 || stride.1 == 1;
    rows >= 12
        && columns >= 16
        && (rows.saturating_mul(columns).saturating_mul(inner) >= SMALL || exact && inner > TERMS)
        && steps(left.stride)
        && steps(right.stride())
}

/// A product whose tiles the threads share. The elements of its factors are those of the kernel: floats, or pairs of them.
struct Product<'a> {
    kernel: Kernel,
    left: Matrix<'a>,
    right: Right<'a>,
    scale: f32,
    /// The parts of a sum.
    depth: usize,
    target: &'a Region<'a>,
}

// SAFETY: the pointer of the target is all that keeps a product from being `Sync`. Only `fill`, `multiply` and `finish` use
// it, which are unsafe: their callers keep to tiles that no other thread has.
unsafe impl Sync for Product<'_> {}

/// Computes `target = left right * scale`, or adds it to the target, and adds the epilogue.
///
/// # Safety
///
/// 1. The target is valid for reads and writes at the rows of `left` and the columns of `right`.
/// 2. Nothing else accesses these elements meanwhile, and they overlap neither factor.
/// 3. They are initialized if the target accumulates.
pub(super) unsafe fn multiply(
    target: &Region<'_>,
    kernel: Kernel,
    left: Matrix<'_>,
    right: Right<'_>,
    scale: f32,
    threads: Threads,
) {
    let inner = left.columns;
    let product = Product {
        kernel,
        left,
        right,
        scale,
        depth: inner.div_ceil(inner.div_ceil(DEPTH)),
        target,
    };
    // SAFETY: 1. to 3. are the caller's promise; 4. the tiles of one cut have no row and column in common, and each is filled
    // once.
    let fill = |(rows, columns)| unsafe { product.fill(rows, columns) };
    match threads {
        Threads::One => {
            let (down, across) = product.tile(1);
            product.tiles(down, across).for_each(fill);
        }
        Threads::All => {
            let (down, across) = product.tile(rayon::current_num_threads());
            let tiles: Vec<_> = product.tiles(down, across).collect();
            tiles.into_par_iter().for_each(fill);
        }
    }
}

impl Product<'_> {
    /// Chooses the rows and columns of a tile such that `threads` are done soon.
    fn tile(&self, threads: usize) -> (usize, usize) {
        let Kernel { rows: height, columns: width, .. } = self.kernel;
        let (rows, columns) = (self.left.rows, self.right.columns());
        let even = |count: usize, parts: usize, of| count.div_ceil(parts).next_multiple_of(of);
        let (fewest_down, fewest_across) = (rows.div_ceil(ROWS), columns.div_ceil(COLUMNS));
        let cuts = [1, 2, 3, 4, 8].into_iter();
        let tiles = cuts.clone().flat_map(|down| {
            let down = even(rows, down * fewest_down, height);
            cuts.clone().map(move |cut| (down, even(columns, cut * fewest_across, width)))
        });
        let left = if self.left.stride.1 == 1 { 0 } else { PACK };
        let right = match self.right {
            Right::Matrix(_) => PACK,
            Right::Blocks { blocks, .. } if blocks.are_floats() => WIDEN,
            Right::Blocks { .. } => DECODE,
        };
        let time = |&(down, across): &(usize, usize)| {
            let one = down * across + right * across + left * down;
            let turns = (rows.div_ceil(down) * columns.div_ceil(across)).div_ceil(threads);
            // A thread that is late delays the others by a part of the last turn.
            one * (16 * turns + 1)
        };
        tiles.min_by_key(time).unwrap_or((rows, columns))
    }

    fn tiles(
        &self,
        down: usize,
        across: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (rows, columns) = (self.left.rows, self.right.columns());
        (0..columns).step_by(across).flat_map(move |column| {
            (0..rows)
                .step_by(down)
                .map(move |row| (row..rows.min(row + down), column..columns.min(column + across)))
        })
    }

    /// Computes one tile.
    ///
    /// # Safety
    ///
    /// 1. The rows and columns are in the target, which is valid for reads and writes there.
    /// 2. Nothing else accesses these elements meanwhile.
    /// 3. They are initialized if the target accumulates.
    unsafe fn fill(&self, rows: Range<usize>, columns: Range<usize>) {
        let Kernel { rows: height, columns: width, .. } = self.kernel;
        let of_left = if self.left.stride.1 == 1 { 0 } else { rows.len().next_multiple_of(height) };
        let of_right = columns.len().next_multiple_of(width);
        scratch([of_right * self.depth, of_left * self.depth], |[right, left]| {
            for start in (0..self.left.columns).step_by(self.depth) {
                let depth = start..self.left.columns.min(start + self.depth);
                let right = self.columns(right, depth.clone(), columns.clone(), rows.len());
                let left = self.rows(left, rows.clone(), depth.clone());
                let last = depth.end == self.left.columns;
                for at in (0..rows.len()).step_by(height) {
                    let row = rows.start + at..rows.end.min(rows.start + at + height);
                    for from in (0..columns.len()).step_by(width) {
                        let part =
                            columns.start + from..columns.end.min(columns.start + from + width);
                        let accumulate = self.target.accumulate || start > 0;
                        // SAFETY: 1. to 3. are the caller's promise; what a part of the sums before this one has written is initialized;
                        // 4. `Lines` reach over the `depth` of all their lines, and those of the right matrix come in full panels.
                        unsafe {
                            self.multiply(
                                row.clone(),
                                part,
                                depth.len(),
                                left.at(at),
                                right.at(from),
                                accumulate,
                            );
                        }
                    }
                    if last {
                        // SAFETY: 1. and 2. are the caller's promise; 3. the products above have written the rows.
                        unsafe { self.target.finish(row, columns.clone()) };
                    }
                }
            }
        });
    }

    /// Returns a part of some rows of the left matrix.
    fn rows<'a>(
        &'a self,
        room: &'a mut [f32],
        rows: Range<usize>,
        depth: Range<usize>,
    ) -> Lines<'a> {
        let (line, step) = self.left.stride;
        let elements = self.left.from(rows.start, depth.start);
        if step == 1 {
            // A row's elements are read one by one, so that contiguous rows need not be packed.
            return Lines { elements, panel: line, steps: (1, line), full: usize::MAX, last: &[] };
        }
        let width = self.kernel.rows;
        panels(room, width, elements, (rows.len(), line), (depth.len(), step));
        Lines { elements: room, panel: depth.len(), steps: (width, 1), full: usize::MAX, last: &[] }
    }

    /// Returns a part of some columns of the right matrix, for a product of so many `rows`.
    fn columns<'a>(
        &'a self,
        room: &'a mut [f32],
        depth: Range<usize>,
        columns: Range<usize>,
        rows: usize,
    ) -> Lines<'a> {
        let width = self.kernel.columns;
        let right = match self.right {
            Right::Matrix(right) => right,
            Right::Blocks { blocks, transposed } => {
                let steps = (width, 1);
                let panel = depth.len();
                let pack = if self.kernel.of_pairs { pairs::panels } else { blocks::panels };
                pack(room, width, &blocks, transposed, depth, columns);
                return Lines { elements: room, panel, steps, full: usize::MAX, last: &[] };
            }
        };
        let (step, line) = right.stride;
        let elements = right.from(depth.start, columns.start);
        if line == 1 && rows <= FEW_ROWS {
            // Micro-kernels read full panels: a last one that is not full is packed.
            let full = columns.len() / width * width;
            let room = &mut room[..width * depth.len()];
            if full < columns.len() {
                panels(
                    room,
                    width,
                    &elements[full..],
                    (columns.len() - full, line),
                    (depth.len(), step),
                );
            }
            return Lines { elements, panel: 1, steps: (step, 1), full, last: room };
        }
        panels(room, width, elements, (columns.len(), line), (depth.len(), step));
        Lines { elements: room, panel: depth.len(), steps: (width, 1), full: usize::MAX, last: &[] }
    }

    /// Multiplies some rows by some columns, of each at most as many as a micro-kernel takes at once.
    ///
    /// # Safety
    ///
    /// 1. The rows and columns are in the target, which is valid for reads and writes there.
    /// 2. Nothing else accesses these elements meanwhile.
    /// 3. They are initialized if it is to `accumulate`.
    /// 4. `left` has `depth` elements of each row, and `right` `depth` of each column of a full panel, at the steps given.
    unsafe fn multiply(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: usize,
        (left, left_steps): (&[f32], (usize, usize)),
        (right, (right_step, _)): (&[f32], (usize, usize)),
        accumulate: bool,
    ) {
        let function = self.kernel.function(columns.len(), rows.len());
        let &Region { first, stride, exact, .. } = self.target;
        // A sum of pairs is of values with 8 bits.
        let exact = exact && !self.kernel.of_pairs;
        let terms = if exact { depth.div_ceil(depth.div_ceil(TERMS)) } else { depth };
        for start in (0..depth).step_by(terms) {
            // SAFETY: 1. the processor has the features that the function needs: `Kernel` has looked; 2. it reads the elements from
            // `start` on, up to `terms` and no further than `depth`, of each row and of each column of a panel (4); 3. it writes these
            // rows and columns of the target (1), which are ours alone (2); 4. it reads them only where it accumulates (3), or where an
            // earlier turn has written them.
            unsafe {
                function(
                    columns.len(),
                    rows.len(),
                    terms.min(depth - start),
                    first.wrapping_add(rows.start * stride + columns.start),
                    right.as_ptr().wrapping_add(start * right_step),
                    left.as_ptr().wrapping_add(start * left_steps.0),
                    stride.cast_signed(),
                    1,
                    right_step.cast_signed(),
                    left_steps.0.cast_signed(),
                    left_steps.1.cast_signed(),
                    1.0,
                    self.scale,
                    u8::from(accumulate || start > 0),
                    false,
                    false,
                    false,
                    std::ptr::null(),
                );
            }
        }
    }
}
