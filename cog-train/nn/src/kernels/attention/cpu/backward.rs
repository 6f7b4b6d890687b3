//! The gradients. The scores are computed again, block by block.
//!
//! The gradient of a query is a sum over keys, those of a key and a value are sums over queries. Either a task has a
//! head of keys to itself and computes all three, or, where there are too few such heads to keep the threads busy, one
//! set of tasks sums over queries and another over keys, and the scores are computed twice. Both add the same terms in
//! the same order, so that the choice, which depends on the number of threads, changes no bit.

use std::ops::Range;

use rayon::prelude::*;

use super::super::dropped;
use super::super::geometry::Geometry;
use super::super::mask::HostMask;
use super::block::{
    Each, Heads, KEYS, QUERIES, blocks, columns, dot, score, slope, slope_of_bound, transpose,
};
use super::forward::tasks_per_head;
use super::product::{Left, NOWHERE, multiply};
use super::targets::{Head, Targets};
use crate::kernels::output::Columns;
use crate::kernels::scratch::scratch;

/// A block of queries of one head.
struct Unit<'a> {
    head: usize,
    queries: Range<usize>,
    /// If it is computed.
    dq: Option<Columns<'a>>,
}

/// The work of one task: blocks of queries that attend to keys of one head.
struct Task<'a> {
    row: usize,
    kv_head: usize,
    units: Vec<Unit<'a>>,
    keys: Range<usize>,
    /// If they are computed.
    dkv: Option<[Columns<'a>; 2]>,
}

/// The inputs of all tasks.
struct Inputs<'a> {
    geometry: &'a Geometry,
    mask: &'a HostMask,
    qkv: [Heads<'a>; 3],
    y: Heads<'a>,
    dy: Heads<'a>,
    lse: &'a [f32],
}

/// Writes the gradients. `y` is the result and `dy` its gradient, both `[B, T, H, hd]`.
pub(super) fn run(
    geometry: &Geometry,
    mask: &HostMask,
    qkv: [Heads<'_>; 3],
    results: [&[f32]; 2],
    lse: &[f32],
    targets: Targets<'_>,
) {
    if geometry.is_empty() {
        return targets.clear();
    }
    let Geometry { queries, heads, width, .. } = *geometry;
    let [y, dy] = results.map(|elements| Heads::new(elements, heads * width, queries, width));
    let inputs = Inputs { geometry, mask, qkv, y, dy, lse };
    let run = |tasks: Vec<Task<'_>>| {
        tasks.into_par_iter().with_max_len(1).for_each(|task| task.run(&inputs));
    };
    let heads = targets.heads(geometry);
    if heads_suffice(geometry) {
        run(whole(geometry, heads));
    } else {
        let (over_queries, over_keys) = separate(geometry, heads);
        run(over_queries);
        run(over_keys);
    }
}

/// Whether heads alone keep the threads busy: five products for each pair of blocks, the last threads idle at the end,
/// against seven.
fn heads_suffice(geometry: &Geometry) -> bool {
    let (heads, threads) = (geometry.batch * geometry.kv_heads, rayon::current_num_threads());
    5 * heads.next_multiple_of(threads) <= 7 * heads
}

/// One task for each head of keys.
fn whole<'a>(geometry: &Geometry, heads: Vec<Head<'a>>) -> Vec<Task<'a>> {
    let tasks = heads.into_iter().map(|Head { row, kv, dq, dkv }| Task {
        row,
        kv_head: kv,
        units: dq.into_iter().flat_map(|(head, dq)| units(geometry, head, dq)).collect(),
        keys: 0..geometry.keys,
        dkv: Some(dkv),
    });
    tasks.collect()
}

/// Tasks that sum over queries, for the gradients of keys and values, and tasks that sum over keys, for those of queries.
fn separate<'a>(geometry: &Geometry, heads: Vec<Head<'a>>) -> (Vec<Task<'a>>, Vec<Task<'a>>) {
    let (mut of_kv, mut of_q) = (Vec::new(), Vec::new());
    for Head { row, kv, dq, dkv } in heads {
        let heads: Vec<usize> = dq.iter().map(|(head, _)| *head).collect();
        of_kv.extend(over_queries(geometry, [row, kv], &heads, dkv));
        of_q.extend(over_keys(geometry, [row, kv], dq));
    }
    (of_kv, of_q)
}

/// Tasks for the gradients of the keys and values of one head, which the queries of `heads` see.
fn over_queries<'a>(
    geometry: &Geometry,
    [row, kv_head]: [usize; 2],
    heads: &[usize],
    [dk, dv]: [Columns<'a>; 2],
) -> impl Iterator<Item = Task<'a>> {
    let blocks = dk.split_rows(KEYS).zip(dv.split_rows(KEYS));
    (0..geometry.keys).step_by(KEYS).zip(blocks).map(move |(from, (dk, dv))| {
        let ranges = || (0..geometry.queries).step_by(QUERIES).map(|from| block(geometry, from));
        let unit = |head| ranges().map(move |queries| Unit { head, queries, dq: None });
        Task {
            row,
            kv_head,
            units: heads.iter().copied().flat_map(unit).collect(),
            keys: from..geometry.keys.min(from + KEYS),
            dkv: Some([dk, dv]),
        }
    })
}

/// Tasks for the gradients of the queries that see one head of keys.
fn over_keys<'a>(
    geometry: &Geometry,
    [row, kv_head]: [usize; 2],
    dq: Vec<(usize, Columns<'a>)>,
) -> Vec<Task<'a>> {
    let per_head = tasks_per_head(geometry);
    let empty = |_| Task { row, kv_head, units: Vec::new(), keys: 0..geometry.keys, dkv: None };
    let mut tasks: Vec<_> = (0..per_head).map(empty).collect();
    let units = dq.into_iter().flat_map(|(head, dq)| units(geometry, head, dq));
    for (at, unit) in units.enumerate() {
        tasks[at % per_head].units.push(unit);
    }
    tasks
}

fn units<'a>(
    geometry: &Geometry,
    head: usize,
    dq: Columns<'a>,
) -> impl Iterator<Item = Unit<'a>> + use<'a> {
    let geometry = *geometry;
    (0..).step_by(QUERIES).zip(dq.split_rows(QUERIES)).map(move |(from, dq)| Unit {
        head,
        queries: block(&geometry, from),
        dq: Some(dq),
    })
}

fn block(geometry: &Geometry, from: usize) -> Range<usize> {
    from..geometry.queries.min(from + QUERIES)
}

/// Returns the scratch memory of a task: keys, values and their gradients, queries and gradients of the result as rows and as
/// columns, gradients of the queries, scores, their gradients and the factors of dropout.
pub(super) fn room(geometry: &Geometry, keys: usize, sums: bool, dropout: bool) -> [usize; 12] {
    let columns = columns(geometry.width);
    let (all, block, square) = (keys * columns, QUERIES * columns, KEYS * QUERIES);
    let sums = if sums { all } else { 0 };
    let dropped = if dropout { square } else { 0 };
    [all, all, sums, sums, block, block, block, block, block, square, square, dropped]
}

impl Task<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
    fn run(self, inputs: &Inputs<'_>) {
        let Self { row, kv_head, units, keys: range, dkv } = self;
        let Inputs { geometry, mask, qkv: [q, k, v], dy, .. } = inputs;
        let (columns, scale) = (columns(geometry.width), geometry.scale as f32);
        let room = room(geometry, range.len(), dkv.is_some(), mask.dropped().is_some());
        scratch(
            room,
            |[
                keys,
                values,
                dk,
                dv,
                rows,
                drows,
                transposed,
                dtransposed,
                dq,
                scores,
                slopes,
                factors,
            ]| {
                k.copy(row, kv_head, range.clone(), keys);
                v.copy(row, kv_head, range.clone(), values);
                dk.fill(0.0);
                dv.fill(0.0);
                for Unit { head, queries, dq: target } in units {
                    let mut ranges = blocks(geometry, mask, row, &queries, &range).peekable();
                    if ranges.peek().is_some() {
                        q.copy(row, head, queries.clone(), rows);
                        transpose(rows, scale, transposed);
                        dy.copy(row, head, queries.clone(), drows);
                        transpose(drows, 1.0, dtransposed);
                    }
                    let [lse, along] = inputs.of_queries(row, head, &queries);
                    dq.fill(0.0);
                    for found in ranges {
                        let part = (found.start - range.start) * columns
                            ..(found.end - range.start) * columns;
                        let (scores, slopes) = (
                            &mut scores[..found.len() * QUERIES],
                            &mut slopes[..found.len() * QUERIES],
                        );
                        let both = [&keys[part.clone()], &*transposed];
                        let diagonal = score(geometry, mask, row, [&queries, &found], both, scores);
                        let left = Left::Rows {
                            elements: &values[part.clone()],
                            stride: columns,
                            diagonal: NOWHERE,
                        };
                        multiply(slopes, left, dtransposed, QUERIES, false);
                        let dropped = mask.dropped().map(|dropped| {
                            let factors = &mut factors[..found.len() * QUERIES];
                            dropped.write::<QUERIES>([row, head], &queries, &found, factors);
                            &*factors
                        });
                        if let Some(factors) = dropped {
                            dropped::multiply(slopes, factors);
                        }
                        if let Some(cap) = geometry.softcap {
                            slope_of_bound(scores, slopes, &along, cap as f32);
                        }
                        slope(scores, slopes, &lse, &along, scale);
                        if let Some(factors) = dropped {
                            dropped::multiply(scores, factors);
                        }
                        let of_block = queries.len() * columns;
                        if dkv.is_some() {
                            for (target, elements, right) in
                                [(&mut *dv, &*scores, &*drows), (&mut *dk, &*slopes, &*rows)]
                            {
                                let left = Left::Rows { elements, stride: QUERIES, diagonal };
                                multiply(
                                    &mut target[part.clone()],
                                    left,
                                    &right[..of_block],
                                    columns,
                                    true,
                                );
                            }
                        }
                        if target.is_some() {
                            let left =
                                Left::Columns { elements: slopes, stride: QUERIES, diagonal };
                            multiply(&mut dq[..of_block], left, &keys[part], columns, true);
                        }
                    }
                    if let Some(target) = target {
                        write(target, dq, columns);
                    }
                }
                if let Some([of_k, of_v]) = dkv {
                    write(of_k, dk, columns);
                    write(of_v, dv, columns);
                }
            },
        );
    }
}

impl Inputs<'_> {
    /// The logarithm of the softmax's denominator, and the product of the result and its gradient, of each query.
    fn of_queries(&self, row: usize, head: usize, queries: &Range<usize>) -> [Each; 2] {
        let from = (row * self.geometry.heads + head) * self.geometry.queries;
        let [mut lse, mut along] = [[0.0; QUERIES]; 2];
        for (at, query) in queries.clone().enumerate() {
            lse[at] = self.lse[from + query];
            along[at] = dot(self.y.at(row, query, head), self.dy.at(row, query, head));
        }
        [lse, along]
    }
}

/// Copies rows of the given number of columns to a target, which may have fewer columns.
fn write(mut target: Columns<'_>, rows: &[f32], columns: usize) {
    for row in rows.chunks_exact(columns).take(target.rows()) {
        target.append_copy(row);
    }
}
