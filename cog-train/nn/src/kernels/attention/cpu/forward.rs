//! The result, one block of queries after the other: the maximum and the sum of the softmax are updated with each block of
//! keys.

use std::ops::Range;

use rayon::prelude::*;

use super::super::dropped;
use super::super::geometry::Geometry;
use super::super::mask::HostMask;
use super::block::{
    Each, Heads, KEYS, QUERIES, blocks, columns, rescale, score, soften, transpose,
};
use super::product::{Left, multiply};
use crate::kernels::output::{Columns, Output};
use crate::kernels::scratch::scratch;

/// A block of queries of one head.
struct Unit<'a> {
    head: usize,
    queries: Range<usize>,
    y: Columns<'a>,
    lse: &'a mut [f32],
}

/// The work of one task: blocks of queries that attend to the same keys.
struct Task<'a> {
    row: usize,
    kv_head: usize,
    units: Vec<Unit<'a>>,
}

/// Writes the result, `[B, T, H, hd]`, and the logarithm of the softmax's denominator, `[B, H, T]`.
pub(super) fn run(
    geometry: &Geometry,
    mask: &HostMask,
    qkv: [Heads<'_>; 3],
    y: Output<'_>,
    lse: &mut [f32],
) {
    if geometry.is_empty() {
        y.zeroed();
        return;
    }
    let tasks = tasks(geometry, y, lse);
    tasks.into_par_iter().with_max_len(1).for_each(|task| task.run(geometry, mask, qkv));
}

/// Distributes the blocks of queries to tasks. The distribution changes the time and not the result.
fn tasks<'a>(geometry: &Geometry, y: Output<'a>, lse: &'a mut [f32]) -> Vec<Task<'a>> {
    let Geometry { batch, queries, heads, width, .. } = *geometry;
    let per_head = tasks_per_head(geometry);
    let mut tasks = Vec::new();
    let rows = y.chunks(queries * heads * width).zip(lse.chunks_mut(heads * queries));
    for (row, (y, lse)) in (0..batch).zip(rows) {
        let mut heads =
            (0..heads).zip(y.split_columns(heads * width, width)).zip(lse.chunks_mut(queries));
        for kv_head in 0..geometry.kv_heads {
            let first = tasks.len();
            tasks.extend((0..per_head).map(|_| Task { row, kv_head, units: Vec::new() }));
            let units = heads.by_ref().take(geometry.group()).flat_map(|((head, y), lse)| {
                let blocks = y.split_rows(QUERIES).zip(lse.chunks_mut(QUERIES));
                (0..).step_by(QUERIES).zip(blocks).map(move |(from, (y, lse))| {
                    let queries = from..from + lse.len();
                    Unit { head, queries, y, lse }
                })
            });
            for (at, unit) in units.enumerate() {
                tasks[first + at % per_head].units.push(unit);
            }
        }
    }
    tasks
}

/// Returns the number of tasks for the blocks of queries of one head of keys, such that each thread has some.
pub(super) fn tasks_per_head(geometry: &Geometry) -> usize {
    let blocks = geometry.group() * geometry.queries.div_ceil(QUERIES);
    let wanted = 4 * rayon::current_num_threads();
    wanted.div_ceil(geometry.batch * geometry.kv_heads).min(blocks)
}

/// Returns the scratch memory of a task: keys, values, queries as rows and as columns, sums, scores and the factors of dropout.
pub(super) fn room(geometry: &Geometry, dropout: bool) -> [usize; 7] {
    let columns = columns(geometry.width);
    let (all, block, square) = (geometry.keys * columns, QUERIES * columns, KEYS * QUERIES);
    [all, all, block, block, block, square, if dropout { square } else { 0 }]
}

impl Task<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
    fn run(self, geometry: &Geometry, mask: &HostMask, [q, k, v]: [Heads<'_>; 3]) {
        let Self { row, kv_head, units } = self;
        let columns = columns(geometry.width);
        let room = room(geometry, mask.dropped().is_some());
        scratch(room, |[keys, values, rows, transposed, sums, scores, factors]| {
            k.copy(row, kv_head, 0..geometry.keys, keys);
            v.copy(row, kv_head, 0..geometry.keys, values);
            for Unit { head, queries, mut y, lse } in units {
                q.copy(row, head, queries.clone(), rows);
                transpose(rows, geometry.scale as f32, transposed);
                sums.fill(0.0);
                let (mut most, mut sum) = ([f32::NEG_INFINITY; QUERIES], [0.0; QUERIES]);
                let mut factor: Each = [0.0; QUERIES];
                for range in blocks(geometry, mask, row, &queries, &(0..geometry.keys)) {
                    let part = range.start * columns..range.end * columns;
                    let scores = &mut scores[..range.len() * QUERIES];
                    let both = [&keys[part.clone()], &*transposed];
                    let diagonal = score(geometry, mask, row, [&queries, &range], both, scores);
                    soften(scores, &mut most, &mut sum, &mut factor);
                    rescale(sums, columns, &factor);
                    if let Some(dropped) = mask.dropped() {
                        let factors = &mut factors[..range.len() * QUERIES];
                        dropped.write::<QUERIES>([row, head], &queries, &range, factors);
                        dropped::multiply(scores, factors);
                    }
                    let left = Left::Columns { elements: scores, stride: QUERIES, diagonal };
                    let target = &mut sums[..queries.len() * columns];
                    multiply(target, left, &values[part], columns, true);
                }
                for (at, sums) in sums.chunks_exact(columns).take(y.rows()).enumerate() {
                    lse[at] = finish(&mut y, sums, most[at], sum[at]);
                }
            }
        });
    }
}

/// Divides a row by the softmax's denominator, of which it returns the logarithm.
fn finish(y: &mut Columns<'_>, sums: &[f32], most: f32, sum: f32) -> f32 {
    if sum == 0.0 {
        // The query sees no key. e to the power of anything less infinity is zero.
        y.append_map(sums, |_| 0.0);
        return f32::INFINITY;
    }
    let factor = 1.0 / sum;
    y.append_map(sums, |sum| sum * factor);
    most + sum.ln()
}
