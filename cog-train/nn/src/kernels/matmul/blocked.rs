//! Large products, tile by tile of the target.
//!
//! A thread puts the columns of the right matrix that its tile needs into panels that stay in its second cache while the
//! rows of the left one go by (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008). Threads
//! share tiles and nothing else, so that a product has one beginning and one end. How a sum is cut into parts depends on
//! its length alone: the bits depend neither on the threads nor on how many rows and columns there are.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::Kernel;
use super::pack::panels;
use super::{After, Matrix, Target, Threads};
use crate::kernels::scratch::scratch;

/// The longest part of a sum that is added up in registers.
const DEPTH: usize = 512;
/// The most columns of a tile: with [`DEPTH`], 1 MiB of panels.
const COLUMNS: usize = 512;
/// The most rows of a tile.
const ROWS: usize = 1024;
/// What it takes to put a number into a panel, in multiplications.
const MAKE: usize = 16;
/// With fewer rows than these, columns without gaps are read where they are.
const FEW_ROWS: usize = 96;
/// Products of fewer multiplications are for the plain way.
const SMALL: usize = 1 << 18;

/// Whether this is the way for a product of that size.
pub(super) fn fits(left: &Matrix<'_>, right: &Matrix<'_>) -> bool {
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    let steps = |matrix: &Matrix<'_>| matrix.stride.0 == 1 || matrix.stride.1 == 1;
    rows >= 12
        && columns >= 16
        && rows.saturating_mul(columns).saturating_mul(inner) >= SMALL
        && steps(left)
        && steps(right)
}

/// A product whose tiles the threads share.
struct Product<'a> {
    kernel: Kernel,
    left: Matrix<'a>,
    right: Matrix<'a>,
    scale: f32,
    /// The parts of a sum.
    depth: usize,
    numbers: *mut f32,
    stride: usize,
    adds: bool,
    after: After<'a>,
}

// SAFETY: each thread writes tiles of its own.
unsafe impl Sync for Product<'_> {}

/// `target = left right * scale`, or that much more, and what comes [`After`].
pub(super) fn multiply(
    target: &mut Target<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    scale: f32,
    threads: Threads,
) {
    let inner = left.columns;
    let product = Product {
        kernel: Kernel::new(),
        left,
        right,
        scale,
        depth: inner.div_ceil(inner.div_ceil(DEPTH)),
        numbers: target.numbers.as_mut_ptr(),
        stride: target.stride,
        adds: target.adds,
        after: target.after,
    };
    match threads {
        Threads::One => {
            let (down, across) = product.tile(1);
            product.tiles(down, across).for_each(|(rows, columns)| product.fill(rows, columns));
        }
        Threads::All => {
            let (down, across) = product.tile(rayon::current_num_threads());
            let tiles: Vec<_> = product.tiles(down, across).collect();
            tiles.into_par_iter().for_each(|(rows, columns)| product.fill(rows, columns));
        }
    }
}

impl Product<'_> {
    /// Rows and columns of a tile, such that `threads` are done soon.
    fn tile(&self, threads: usize) -> (usize, usize) {
        let Kernel { rows: height, columns: width, .. } = self.kernel;
        let (rows, columns) = (self.left.rows, self.right.columns);
        let even = |count: usize, parts: usize, of| count.div_ceil(parts).next_multiple_of(of);
        let (fewest_down, fewest_across) = (rows.div_ceil(ROWS), columns.div_ceil(COLUMNS));
        let cuts = [1, 2, 3, 4, 8].into_iter();
        let tiles = cuts.clone().flat_map(|down| {
            let down = even(rows, down * fewest_down, height);
            cuts.clone().map(move |cut| (down, even(columns, cut * fewest_across, width)))
        });
        let left = if self.left.stride.1 == 1 { 0 } else { MAKE };
        let time = |&(down, across): &(usize, usize)| {
            let one = down * across + MAKE * across + left * down;
            let turns = (rows.div_ceil(down) * columns.div_ceil(across)).div_ceil(threads);
            // A thread that is held up holds up the others for a part of the last turn.
            one * (16 * turns + 1)
        };
        tiles.min_by_key(time).unwrap_or((rows, columns))
    }

    fn tiles(
        &self,
        down: usize,
        across: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (rows, columns) = (self.left.rows, self.right.columns);
        (0..columns).step_by(across).flat_map(move |column| {
            (0..rows)
                .step_by(down)
                .map(move |row| (row..rows.min(row + down), column..columns.min(column + across)))
        })
    }

    /// Computes one tile.
    fn fill(&self, rows: Range<usize>, columns: Range<usize>) {
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
                        self.multiply(
                            row.clone(),
                            part,
                            depth.len(),
                            left.at(at),
                            right.at(from),
                            start > 0,
                        );
                    }
                    if last && !self.after.is_nothing() {
                        self.finish(row, columns.clone());
                    }
                }
            }
        });
    }

    /// A part of some rows of the left matrix.
    fn rows<'a>(
        &'a self,
        room: &'a mut [f32],
        rows: Range<usize>,
        depth: Range<usize>,
    ) -> Lines<'a> {
        let (line, step) = self.left.stride;
        let numbers = self.left.from(rows.start, depth.start);
        if step == 1 {
            // A row's numbers are taken one by one, so that rows without gaps need no panels.
            return Lines { numbers, panel: line, steps: (1, line), full: usize::MAX, last: &[] };
        }
        let width = self.kernel.rows;
        panels(room, width, numbers, (rows.len(), line), (depth.len(), step));
        Lines { numbers: room, panel: depth.len(), steps: (width, 1), full: usize::MAX, last: &[] }
    }

    /// A part of some columns of the right matrix, for so many `rows`.
    fn columns<'a>(
        &'a self,
        room: &'a mut [f32],
        depth: Range<usize>,
        columns: Range<usize>,
        rows: usize,
    ) -> Lines<'a> {
        let (step, line) = self.right.stride;
        let width = self.kernel.columns;
        let numbers = self.right.from(depth.start, columns.start);
        if line == 1 && rows <= FEW_ROWS {
            // The loops read full panels: one that the matrix does not have is made.
            let full = columns.len() / width * width;
            let room = &mut room[..width * depth.len()];
            if full < columns.len() {
                panels(
                    room,
                    width,
                    &numbers[full..],
                    (columns.len() - full, line),
                    (depth.len(), step),
                );
            }
            return Lines { numbers, panel: 1, steps: (step, 1), full, last: room };
        }
        panels(room, width, numbers, (columns.len(), line), (depth.len(), step));
        Lines { numbers: room, panel: depth.len(), steps: (width, 1), full: usize::MAX, last: &[] }
    }

    /// Some rows times some columns, as many of each as the innermost loops take at once.
    fn multiply(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: usize,
        (left, left_steps): (&[f32], (usize, usize)),
        (right, (right_step, _)): (&[f32], (usize, usize)),
        goes_on: bool,
    ) {
        let function = self.kernel.function(columns.len(), rows.len());
        // SAFETY: 1. the processor has what the function asks for: `Kernel` has looked; 2. a panel of columns is full,
        // with zeros if need be, or its columns are all in the matrix; 3. of the rows it reads `depth` numbers each; 4. it
        // writes these rows and columns of the target, which are this tile's alone and within it: `matmul` has looked;
        // 5. it reads them only where they are added to.
        unsafe {
            function(
                columns.len(),
                rows.len(),
                depth,
                self.numbers.wrapping_add(rows.start * self.stride + columns.start),
                right.as_ptr(),
                left.as_ptr(),
                self.stride.cast_signed(),
                1,
                right_step.cast_signed(),
                left_steps.0.cast_signed(),
                left_steps.1.cast_signed(),
                1.0,
                self.scale,
                u8::from(self.adds || goes_on),
                false,
                false,
                false,
                std::ptr::null(),
            );
        }
    }

    /// Adds what comes after to rows of the target whose sums are complete.
    fn finish(&self, rows: Range<usize>, columns: Range<usize>) {
        for row in rows {
            let start = row * self.stride + columns.start;
            let place = self.numbers.wrapping_add(start);
            // SAFETY: these numbers are within the target, and this tile's alone.
            let numbers = unsafe { std::slice::from_raw_parts_mut(place, columns.len()) };
            self.after.add(numbers, start, columns.start);
        }
    }
}

/// Rows or columns as the innermost loops read them: in panels, or in the matrix itself.
struct Lines<'a> {
    numbers: &'a [f32],
    /// From a line to the next where a panel begins.
    panel: usize,
    /// From one number of a sum to the next, and from one line to the next.
    steps: (usize, usize),
    /// How many lines are in `numbers`; the others are in a panel of their own.
    full: usize,
    last: &'a [f32],
}

impl<'a> Lines<'a> {
    /// From a line on.
    fn at(&self, line: usize) -> (&'a [f32], (usize, usize)) {
        if line < self.full {
            (&self.numbers[line * self.panel..], self.steps)
        } else {
            (self.last, (Kernel::new().columns, 1))
        }
    }
}
