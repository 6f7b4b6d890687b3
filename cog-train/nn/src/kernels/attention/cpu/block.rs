//! The layout of heads in memory, blocks of them, and the scores of a block, for both passes.

use std::ops::Range;

use super::super::geometry::Geometry;
use super::super::mask::{Sight, ends};
use super::product::{COLUMNS, Left, NOWHERE, multiply};
use crate::kernels::simd::{self, simd};

/// Queries of a block. All products with scores have so many columns or rows, the last block's too.
pub(super) const QUERIES: usize = 64;

/// Keys of a block: scores of 32 KiB, which a core's nearest cache holds.
pub(super) const KEYS: usize = 128;

/// One value for each query of a block.
pub(super) type Each = [f32; QUERIES];

/// Heads of queries, keys or values: rows of one head are `row` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    elements: &'a [f32],
    row: usize,
    /// Of each row of the batch.
    positions: usize,
    width: usize,
}

impl<'a> Heads<'a> {
    pub(super) fn new(elements: &'a [f32], row: usize, positions: usize, width: usize) -> Self {
        Self { elements, row, positions, width }
    }

    /// One query, key or value.
    pub(super) fn at(&self, row: usize, position: usize, head: usize) -> &'a [f32] {
        let from = (row * self.positions + position) * self.row + head * self.width;
        &self.elements[from..from + self.width]
    }

    /// Copies positions of one head to the rows of `target`, which are wider if the [columns](columns) are, and sets the
    /// rest to zero.
    pub(super) fn copy(
        &self,
        row: usize,
        head: usize,
        positions: Range<usize>,
        target: &mut [f32],
    ) {
        let columns = columns(self.width);
        let (rows, rest) = target.split_at_mut(positions.len() * columns);
        for (position, target) in positions.zip(rows.chunks_exact_mut(columns)) {
            target[..self.width].copy_from_slice(self.at(row, position, head));
            target[self.width..].fill(0.0);
        }
        rest.fill(0.0);
    }
}

/// The columns of a head in products.
pub(super) fn columns(width: usize) -> usize {
    width.next_multiple_of(COLUMNS)
}

/// The blocks of keys among `keys`, from a multiple of [`KEYS`], that a block of queries may see.
pub(super) fn blocks<'a>(
    geometry: &'a Geometry,
    sight: &'a Sight,
    row: usize,
    queries: &'a Range<usize>,
    keys: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let seen = sight.reach(geometry, row, queries);
    let (from, end) = (seen.start.max(keys.start), seen.end.min(keys.end));
    (from - from % KEYS..end)
        .step_by(KEYS)
        .map(move |from| from..end.min(from + KEYS))
        .filter(move |keys| sight.meets(geometry, row, queries, keys))
}

/// Computes the scores of a block, with minus infinity where a key is hidden. `transposed` are the queries as columns, times
/// the scale. Returns the diagonal for products with the scores' results.
#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
pub(super) fn score(
    geometry: &Geometry,
    sight: &Sight,
    row: usize,
    [queries, keys]: [&Range<usize>; 2],
    [k, transposed]: [&[f32]; 2],
    scores: &mut [f32],
) -> isize {
    let stride = columns(geometry.width);
    let left = Left::Rows { elements: k, stride, diagonal: NOWHERE };
    multiply(scores, left, transposed, QUERIES, false);
    if let Some(cap) = geometry.softcap {
        bound(scores, cap as f32);
    }
    if let Some(diagonal) = sight.lower_diagonal(geometry, queries, keys) {
        for (key, scores) in (0isize..).zip(scores.chunks_exact_mut(QUERIES)) {
            let seen = usize::try_from(key - diagonal + 1).unwrap_or(0).min(QUERIES);
            scores[seen..].fill(f32::NEG_INFINITY);
        }
    }
    let diagonal = sight.diagonal(geometry, queries, keys);
    if let Some(diagonal) = diagonal {
        for (key, scores) in (0isize..).zip(scores.chunks_exact_mut(QUERIES)) {
            let before = usize::try_from(key - diagonal).unwrap_or(0).min(QUERIES);
            scores[..before].fill(f32::NEG_INFINITY);
        }
    }
    if let Some((of_queries, of_keys)) = sight.ids(geometry, row, queries, keys) {
        let [id, other] = ends(of_queries);
        if id != other || ends(of_keys) != [id; 2] {
            for (id, scores) in of_keys.iter().zip(scores.chunks_exact_mut(QUERIES)) {
                hide_others(scores, of_queries, *id);
            }
        }
    }
    diagonal.unwrap_or(NOWHERE)
}

simd! {
    /// Writes rows as the columns of `target`, times `scale`.
    pub(super) fn transpose(rows: &[f32], scale: f32, target: &mut [f32]) {
        let columns = rows.len() / QUERIES;
        for (column, target) in target.chunks_exact_mut(QUERIES).enumerate() {
            for (row, target) in target.iter_mut().enumerate() {
                *target = rows[row * columns + column] * scale;
            }
        }
    }

    fn bound(scores: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for score in scores {
            *score = cap * simd::tanh(*score * inverse);
        }
    }

    fn hide_others(scores: &mut [f32], ids: &[u32], id: u32) {
        for (score, other) in scores.iter_mut().zip(ids) {
            *score = if *other == id { *score } else { f32::NEG_INFINITY };
        }
    }

    /// Replaces scores by the exponentials of their differences from the maximum so far, `most`, and accumulate these to `sum`. Sums
    /// under the previous maximum are to be multiplied by `rescale`.
    pub(super) fn soften(
        scores: &mut [f32],
        most: &mut Each,
        sum: &mut Each,
        rescale: &mut Each,
    ) {
        let mut greatest = *most;
        for scores in scores.chunks_exact(QUERIES) {
            for at in 0..QUERIES {
                // A NaN is skipped here and makes the sum below undefined.
                greatest[at] = if scores[at] > greatest[at] { scores[at] } else { greatest[at] };
            }
        }
        let (mut from, mut added) = ([0.0; QUERIES], [0.0; QUERIES]);
        for at in 0..QUERIES {
            // As long as no key is seen, the difference of two infinities would be undefined.
            from[at] = if greatest[at] > f32::NEG_INFINITY { greatest[at] } else { 0.0 };
            rescale[at] = simd::exp(most[at] - from[at]);
        }
        for scores in scores.chunks_exact_mut(QUERIES) {
            for at in 0..QUERIES {
                scores[at] = simd::exp(scores[at] - from[at]);
                added[at] += scores[at];
            }
        }
        for at in 0..QUERIES {
            sum[at] = sum[at].mul_add(rescale[at], added[at]);
        }
        *most = greatest;
    }

    /// Replaces scores by the softmax, and `slopes`, its gradients, by those of the products of queries and keys.
    pub(super) fn slope(
        scores: &mut [f32],
        slopes: &mut [f32],
        lse: &Each,
        along: &Each,
        scale: f32,
    ) {
        let pairs = scores.chunks_exact_mut(QUERIES).zip(slopes.chunks_exact_mut(QUERIES));
        for (scores, slopes) in pairs {
            for at in 0..QUERIES {
                scores[at] = simd::exp(scores[at] - lse[at]);
                slopes[at] = scores[at] * (slopes[at] - along[at]) * scale;
            }
        }
    }

    /// Multiplies the differences of `slopes` and `along` by the slope of the bound. A hidden score is minus infinity.
    pub(super) fn slope_of_bound(scores: &[f32], slopes: &mut [f32], along: &Each, cap: f32) {
        let inverse = 1.0 / cap;
        for (scores, slopes) in scores.chunks_exact(QUERIES).zip(slopes.chunks_exact_mut(QUERIES)) {
            for at in 0..QUERIES {
                let share = f32::max(scores[at] * inverse, -1.0);
                let factor = (-share).mul_add(share, 1.0);
                slopes[at] = (slopes[at] - along[at]).mul_add(factor, along[at]);
            }
        }
    }

    /// Multiplies rows.
    pub(super) fn rescale(rows: &mut [f32], columns: usize, by: &Each) {
        for (row, by) in rows.chunks_exact_mut(columns).zip(by) {
            for element in row {
                *element *= *by;
            }
        }
    }

    pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
        simd::dot(one, other)
    }
}
