//! The ranks that own the trained tensors, and the way of gradients to them and of weights back (`ZeRO-1`; Rajbhandari et al.,
//! "`ZeRO`: Memory Optimizations Toward Training Trillion Parameter Models", 2020).
//!
//! The owner of rows adds the gradients of all ranks, updates the weights, and alone holds the state of their optimizer, their
//! moving average, and their master where the model computes in 16 bits.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::bucket::{Piece, packed, rows_of, unpacked};
use super::ranks::{LEAD, Ranks};
use crate::error::Error;
use crate::optim::Optimizer;
use crate::params::{Param, Params, RowRange};

/// The elements of a bucket, which travels at once. Longer rows are a bucket of their own.
const BUCKET: usize = 1 << 22;

/// The elements of a block of rows. Its squares are added up by themselves, and its rows have one owner, so that the sum over a
/// tensor does not depend on the number of ranks.
const BLOCK: usize = 1 << 20;

/// The owners of the rows of each trained tensor.
#[derive(Debug, Clone)]
pub(super) struct Owners {
    /// The rows of each rank, in the order of ranks, by name.
    rows: BTreeMap<String, Vec<RowRange>>,
    /// The pieces of each rank, in the buckets that travel at once.
    pub(super) buckets: Vec<Vec<Vec<Piece>>>,
}

/// The owner of some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) rank: usize,
    pub(super) rows: RowRange,
}

impl Owners {
    /// Deals out the trained tensors, the largest first. What is updated element by element and has several blocks is divided
    /// among all ranks; each other tensor goes to the rank that has the fewest elements.
    pub(super) fn new(params: &Params, optimizer: &Optimizer, world: usize) -> Self {
        let mut tensors: Vec<(&str, &Param)> = params.trainable().collect();
        tensors.sort_by_key(|(name, param)| (Reverse(count(param)), *name));
        let mut held = vec![0; world];
        let mut rows = BTreeMap::new();
        for (name, param) in tensors {
            let (all, each) = (param.all_rows().len(), rows_of_block(param.dims()));
            let blocks = (all / each).max(1);
            let mut by_need: Vec<usize> = (0..world).collect();
            by_need.sort_by_key(|rank| held[*rank]);
            let takers = if optimizer.is_elementwise(name, param.dims()) { world } else { 1 };
            let takers = takers.min(blocks);
            let mut lengths = vec![0; world];
            for (at, rank) in by_need[..takers].iter().enumerate() {
                lengths[*rank] = (blocks / takers + usize::from(at < blocks % takers)) * each;
            }
            let (mut start, last) = (0, by_need[..takers].iter().max());
            let ranges = lengths.into_iter().enumerate().map(|(rank, length)| {
                let end = if Some(&rank) == last { all } else { start + length };
                let range = start..end;
                start = end;
                range
            });
            let ranges: Vec<RowRange> = ranges.collect();
            for (held, range) in held.iter_mut().zip(&ranges) {
                *held += range.len() * row(param.dims());
            }
            rows.insert(name.to_owned(), ranges);
        }
        let mut owners = Self { rows, buckets: Vec::new() };
        owners.order(params, params.trainable().map(|(name, _)| name));
        owners
    }

    /// Makes buckets of the tensors in this order, which is the same on all ranks.
    pub(super) fn order<'a>(&mut self, params: &Params, names: impl Iterator<Item = &'a str>) {
        let world = self.rows.values().next().map_or(1, Vec::len);
        let mut buckets: Vec<Vec<Vec<Piece>>> = vec![Vec::new(); world];
        let mut room = vec![0; world];
        for (name, param) in names.filter_map(|name| Some((name, params.get(name)?))) {
            let row = row(param.dims());
            for Holder { rank, rows } in self.holders(name, param) {
                // Longer tensors travel in pieces: each rank has a copy of what arrives from every other.
                let most = (BUCKET / row.max(1)).max(1);
                let starts = rows.clone().step_by(most);
                let pieces: Vec<_> = starts.map(|at| at..(at + most).min(rows.end)).collect();
                for rows in if pieces.is_empty() { vec![rows] } else { pieces } {
                    let elements = rows.len() * row;
                    if buckets[rank].is_empty() || room[rank] < elements {
                        buckets[rank].push(Vec::new());
                        room[rank] = BUCKET;
                    }
                    room[rank] = room[rank].saturating_sub(elements);
                    if let Some(bucket) = buckets[rank].last_mut() {
                        bucket.push(Piece { name: name.to_owned(), rows });
                    }
                }
            }
        }
        self.buckets = buckets;
    }

    /// Returns the number of buckets of the rank that has the most.
    pub(super) fn rounds(&self) -> usize {
        self.buckets.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Returns the pieces that go to a rank in a round.
    pub(super) fn bucket(&self, rank: usize, round: usize) -> &[Piece] {
        self.buckets[rank].get(round).map_or(&[], Vec::as_slice)
    }

    /// Returns the rows of a trained tensor that a rank owns.
    pub(super) fn rows(&self, name: &str, rank: usize) -> RowRange {
        self.rows.get(name).map_or(0..0, |ranges| ranges[rank].clone())
    }

    /// Returns the owners of the rows of a tensor, in their order. Those that are not trained belong to the first rank.
    pub(super) fn holders(&self, name: &str, param: &Param) -> Vec<Holder> {
        let ranges = self.rows.get(name).map_or(&[][..], Vec::as_slice);
        let some = ranges.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        let holders: Vec<Holder> =
            some.map(|(rank, rows)| Holder { rank, rows: rows.clone() }).collect();
        if holders.is_empty() {
            return vec![Holder { rank: LEAD, rows: param.all_rows() }];
        }
        holders
    }

    /// Returns the names of the trained tensors, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// Hands the tensors that the model computes with from their owners to all ranks.
    pub(super) fn publish(&self, params: &Params, ranks: &Ranks) -> Result<(), Error> {
        let computed = |param: &Param, rows: &RowRange| rows_of(param.compute(), rows);
        self.send(params, ranks, computed, Param::set_computed)
    }

    /// Hands the masters from their owners to all ranks, which hold them all.
    pub(super) fn publish_masters(&self, params: &Params, ranks: &Ranks) -> Result<(), Error> {
        self.send(params, ranks, Param::rows, Param::set_rows)
    }

    /// Returns a tensor of these dimensions and this dtype that belongs to a parameter, on the first rank: the owners of its rows hand over what they have. `own`
    /// returns that of this rank.
    pub(super) fn gather(
        &self,
        name: &str,
        param: &Param,
        (dims, dtype): (&[usize], DType),
        own: impl Fn(&RowRange) -> Result<Tensor, Error>,
        ranks: &Ranks,
    ) -> Result<Option<Tensor>, Error> {
        let zeros = |dims: &[usize]| Tensor::zeros(dims, dtype, param.compute().device());
        let holders = self.holders(name, param);
        let whole = holders.len() == 1;
        let mut joined = None;
        for Holder { rank: owner, rows } in holders {
            let is_own = owner == ranks.rank();
            if owner == LEAD && !is_own {
                continue;
            }
            let part = match (is_own, whole) {
                (true, _) => own(&rows)?,
                (false, true) => zeros(dims)?,
                (false, false) => zeros(&[&[rows.len()], &dims[1..]].concat())?,
            };
            let part = part.contiguous()?;
            let part = if owner == LEAD { part } else { ranks.broadcast(&part, owner)? };
            if ranks.leads() && whole {
                return Ok(Some(part));
            }
            if ranks.leads() {
                let joined = match &mut joined {
                    Some(joined) => &*joined,
                    none => none.insert(zeros(dims)?),
                };
                joined.slice_set(&part, 0, rows.start)?;
            }
        }
        Ok(joined)
    }

    fn send(
        &self,
        params: &Params,
        ranks: &Ranks,
        tensor: impl Fn(&Param, &RowRange) -> Result<Tensor, Error>,
        set: impl Fn(&Param, &RowRange, &Tensor) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if ranks.is_alone() {
            return Ok(());
        }
        for (owner, buckets) in self.buckets.iter().enumerate() {
            for bucket in buckets {
                let pieces = bucket.iter().filter_map(|it| Some((it, params.get(&it.name)?)));
                let own =
                    packed(pieces.clone().map(|(it, param)| tensor(param, &it.rows)), params)?;
                let received = ranks.broadcast(&own, owner)?;
                if owner != ranks.rank() {
                    let values = unpacked(&received, bucket, params)?;
                    for ((piece, param), values) in pieces.zip(&values) {
                        set(param, &piece.rows, values)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the blocks of a gradient, of all rows of a tensor or of those of a rank.
pub(super) fn blocks(gradient: &Tensor) -> Result<Vec<Tensor>, Error> {
    let Some(all) = gradient.dims().first().copied() else { return Ok(vec![gradient.clone()]) };
    let each = rows_of_block(gradient.dims());
    if all <= each {
        return Ok(vec![gradient.clone()]);
    }
    let starts = (0..all).step_by(each);
    starts.map(|at| Ok(gradient.narrow(0, at, each.min(all - at))?)).collect()
}

fn rows_of_block(dims: &[usize]) -> usize {
    (BLOCK / row(dims).max(1)).max(1)
}

/// Returns the elements of a row.
fn row(dims: &[usize]) -> usize {
    dims.iter().skip(1).product()
}

fn count(param: &Param) -> usize {
    param.compute().elem_count()
}

#[cfg(test)]
mod tests;
