//! The ranks that own the trained tensors, and the way of gradients to them and of weights back (`ZeRO-1`; Rajbhandari et al.,
//! "`ZeRO`: Memory Optimizations Toward Training Trillion Parameter Models", 2020).
//!
//! The owner of a tensor adds the gradients of all ranks, updates the weight, and alone holds the state of its optimizer and
//! its moving average.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Storage, Tensor};

use super::ranks::{LEAD, Ranks};
use super::tree::Tree;
use crate::error::Error;
use crate::parallel::Reduce;
use crate::params::{Gradients, Param, Params};

/// The elements of a bucket, which travels at once. A tensor that is larger is a bucket of its own, and is not copied into
/// one.
const BUCKET: usize = 1 << 22;

/// The owner of each trained tensor, by name.
#[derive(Debug)]
pub(super) struct Owners {
    by_name: BTreeMap<String, Owned>,
    /// The names of each rank's tensors, in buckets.
    buckets: Vec<Vec<Vec<String>>>,
}

#[derive(Debug, Clone, Copy)]
struct Owned {
    owner: usize,
    /// Its position among the names.
    at: usize,
}

/// Whether each rank has a gradient of each trained tensor, in the order of names.
pub(super) type Presence = Vec<Vec<bool>>;

impl Owners {
    /// Deals out the trained tensors, the largest first, each to the rank that has the fewest elements.
    pub(super) fn new(params: &Params, world: usize) -> Self {
        let mut tensors: Vec<(usize, &str)> =
            params.trainable().map(|(name, param)| (count(param), name)).collect();
        tensors.sort_by_key(|(count, name)| (Reverse(*count), *name));
        let mut held = vec![0; world];
        let mut by_name = BTreeMap::new();
        for (count, name) in tensors {
            let owner = (0..world).min_by_key(|rank| held[*rank]).unwrap_or(LEAD);
            held[owner] += count;
            by_name.insert(name.to_owned(), Owned { owner, at: 0 });
        }
        by_name.values_mut().enumerate().for_each(|(at, owned)| owned.at = at);
        let mut buckets: Vec<Vec<Vec<String>>> = vec![Vec::new(); world];
        let mut room = vec![0; world];
        for (name, param) in params.trainable() {
            let owner = by_name[name].owner;
            if buckets[owner].is_empty() || room[owner] < count(param) {
                buckets[owner].push(Vec::new());
                room[owner] = BUCKET;
            }
            room[owner] = room[owner].saturating_sub(count(param));
            if let Some(bucket) = buckets[owner].last_mut() {
                bucket.push(name.to_owned());
            }
        }
        Self { by_name, buckets }
    }

    /// Returns the owner of a tensor. Those that are not trained belong to the first rank.
    pub(super) fn of(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(LEAD, |owned| owned.owner)
    }

    /// Returns which trained tensors have a gradient, in the order of names.
    pub(super) fn present(&self, gradients: &Gradients) -> Vec<bool> {
        self.by_name.keys().map(|name| gradients.get(name).is_some()).collect()
    }

    /// Hands each gradient to its owner, who adds those of all ranks. Returns those of this rank's tensors.
    pub(super) fn reduce(
        &self,
        mut gradients: Gradients,
        present: &Presence,
        params: &Params,
        ranks: &Ranks,
        how: Reduce,
    ) -> Result<Gradients, Error> {
        let rounds = self.buckets.iter().map(Vec::len).max().unwrap_or(0);
        let mut found = BTreeMap::new();
        for round in 0..rounds {
            let bucket = |rank: usize| self.buckets[rank].get(round).map_or(&[][..], Vec::as_slice);
            let parts = (0..ranks.world()).map(|rank| {
                let tensor = |name: &String| match gradients.remove(name) {
                    Some(gradient) => Ok(gradient),
                    None => zeros(params, name),
                };
                packed(bucket(rank).iter().map(tensor), params)
            });
            let parts: Vec<Tensor> = parts.collect::<Result<_, _>>()?;
            let own = bucket(ranks.rank());
            match how {
                Reduce::Exact => {
                    let received = ranks.all_to_all(&parts)?;
                    drop(parts);
                    let pieces: Vec<Vec<Tensor>> = received
                        .iter()
                        .map(|part| unpacked(part, own, params))
                        .collect::<Result<_, _>>()?;
                    for (at, name) in own.iter().enumerate() {
                        let mut tree = Tree::default();
                        for (pieces, present) in pieces.iter().zip(present) {
                            let is_there = present[self.by_name[name].at];
                            tree.push(is_there.then(|| pieces[at].clone()), add)?;
                        }
                        if let Some(sum) = tree.finish(add)?.flatten() {
                            found.insert(name.clone(), by_itself(sum)?);
                        }
                    }
                }
                Reduce::Fast => {
                    for (rank, part) in parts.into_iter().enumerate() {
                        let sum = ranks.sum(&part)?;
                        if rank != ranks.rank() {
                            continue;
                        }
                        for (name, sum) in own.iter().zip(unpacked(&sum, own, params)?) {
                            if present.iter().any(|present| present[self.by_name[name].at]) {
                                found.insert(name.clone(), by_itself(sum)?);
                            }
                        }
                    }
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Hands the tensors that the model computes with from their owners to all ranks.
    pub(super) fn publish(&self, params: &Params, ranks: &Ranks) -> Result<(), Error> {
        self.send(params, ranks, Param::compute, Param::set_computed)
    }

    /// Hands the masters from their owners to all ranks.
    pub(super) fn publish_masters(&self, params: &Params, ranks: &Ranks) -> Result<(), Error> {
        self.send(params, ranks, Param::master, Param::set)
    }

    fn send(
        &self,
        params: &Params,
        ranks: &Ranks,
        tensor: impl Fn(&Param) -> &Tensor,
        set: impl Fn(&Param, &Tensor) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if ranks.is_alone() {
            return Ok(());
        }
        for (owner, buckets) in self.buckets.iter().enumerate() {
            for bucket in buckets {
                let tensors = bucket.iter().filter_map(|name| params.get(name));
                let own = packed(tensors.map(|param| Ok(tensor(param).detach())), params)?;
                let received = ranks.broadcast(&own, owner)?;
                if owner != ranks.rank() {
                    for (name, values) in bucket.iter().zip(unpacked(&received, bucket, params)?) {
                        if let Some(param) = params.get(name) {
                            set(param, &values)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn count(param: &Param) -> usize {
    param.master().elem_count()
}

fn zeros(params: &Params, name: &str) -> Result<Tensor, Error> {
    let dims = params.get(name).map_or(&[][..], |param| param.master().dims());
    Ok(Tensor::zeros(dims, DType::F32, params.device())?)
}

/// Joins tensors to one of one dimension. A single one is not copied.
fn packed(
    tensors: impl Iterator<Item = Result<Tensor, Error>>,
    params: &Params,
) -> Result<Tensor, Error> {
    let flat: Vec<Tensor> =
        tensors.map(|tensor| Ok(tensor?.flatten_all()?)).collect::<Result<_, Error>>()?;
    Ok(match &flat[..] {
        [] => Tensor::zeros(0, DType::F32, params.device())?,
        [one] => one.clone(),
        many => Tensor::cat(many, 0)?,
    })
}

/// Returns views of the tensors of a bucket, in their shapes.
fn unpacked(bucket: &Tensor, names: &[String], params: &Params) -> Result<Vec<Tensor>, Error> {
    let mut start = 0;
    let mut tensors = Vec::new();
    for param in names.iter().filter_map(|name| params.get(name)) {
        let piece = bucket.narrow(0, start, count(param))?;
        tensors.push(piece.reshape(param.master().dims())?);
        start += count(param);
    }
    Ok(tensors)
}

fn add(left: Option<Tensor>, right: Option<Tensor>) -> Result<Option<Tensor>, Error> {
    Ok(match (left, right) {
        (Some(left), Some(right)) => Some((left + right)?),
        (left, right) => left.or(right),
    })
}

/// Copies a view of a larger storage, which it would keep.
fn by_itself(tensor: Tensor) -> Result<Tensor, Error> {
    let elements = tensor.elem_count();
    let is_view = match &*tensor.storage_and_layout().0 {
        Storage::Cpu(CpuStorage::F32(values)) => values.len() != elements,
        _ => tensor.layout().start_offset() != 0,
    };
    Ok(if is_view { tensor.force_contiguous()? } else { tensor })
}
