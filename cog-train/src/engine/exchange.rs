//! The exchange of gradients: each goes to the owners of its rows, bucket by bucket.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, Storage, Tensor};

use super::bucket::{Piece, packed, rows_of, unpacked};
use super::owners::Owners;
use super::ranks::Ranks;
use super::tree::Tree;
use crate::error::Error;
use crate::parallel::Reduce;
use crate::params::{Gradients, Params};

/// An exchange on its way. All ranks take the same rounds.
pub(super) struct Exchange<'a> {
    owners: &'a Owners,
    params: &'a Params,
    ranks: &'a Ranks,
    how: Reduce,
    /// The next round.
    round: usize,
    /// The pieces of each gradient that this rank still has to send.
    left: BTreeMap<&'a str, usize>,
    /// The sums of this rank's rows, in their order.
    sums: BTreeMap<&'a str, Vec<Tensor>>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        owners: &'a Owners,
        params: &'a Params,
        ranks: &'a Ranks,
        how: Reduce,
    ) -> Self {
        let mut left = BTreeMap::new();
        for piece in owners.buckets.iter().flatten().flatten() {
            *left.entry(piece.name.as_str()).or_insert(0) += 1;
        }
        Self { owners, params, ranks, how, round: 0, left, sums: BTreeMap::new() }
    }

    /// Returns the pieces of the next round; `None` after the last.
    pub(super) fn next(&self) -> Option<impl Iterator<Item = &'a Piece> + use<'a>> {
        let (owners, round) = (self.owners, self.round);
        let pieces = (0..self.ranks.world()).flat_map(move |rank| owners.bucket(rank, round));
        (round < owners.rounds()).then_some(pieces)
    }

    /// Takes the next round. Gradients of which all rows are sent are removed; one that is missing adds nothing.
    pub(super) fn step(&mut self, gradients: &mut Gradients) -> Result<(), Error> {
        let Self { owners, params, ranks, round, .. } = *self;
        self.round += 1;
        let mut parts = Vec::with_capacity(ranks.world());
        for rank in 0..ranks.world() {
            let bucket = owners.bucket(rank, round);
            let rows = bucket.iter().map(|piece| match gradients.get(&piece.name) {
                Some(gradient) => rows_of(gradient, &piece.rows),
                // Added to any number, it leaves all of its bits.
                None => Ok(Tensor::full(-0f32, piece.dims(params), params.device())?),
            });
            parts.push(packed(rows, params)?);
            for piece in bucket {
                let left = self.left.get_mut(piece.name.as_str());
                if let Some(left) = left {
                    *left -= 1;
                    if *left == 0 {
                        gradients.remove(&piece.name);
                    }
                }
            }
        }
        let own = owners.bucket(ranks.rank(), round);
        let sum = match self.how {
            Reduce::Exact => {
                let mut tree = Tree::default();
                for part in ranks.all_to_all(&parts)? {
                    tree.push(part, add)?;
                }
                drop(parts);
                tree.finish(add)?
            }
            Reduce::Fast => {
                let mut own = None;
                for (rank, part) in parts.into_iter().enumerate() {
                    let sum = ranks.sum(&part)?;
                    own = if rank == ranks.rank() { Some(sum) } else { own };
                }
                own
            }
        };
        let sums = sum.map_or_else(|| Ok(Vec::new()), |sum| unpacked(&sum, own, params))?;
        for (piece, sum) in own.iter().zip(sums) {
            self.sums.entry(&piece.name).or_default().push(by_itself(sum)?);
        }
        Ok(())
    }

    /// Takes the rounds that are left. Returns the gradients of this rank's rows: of those that have no gradient on any rank too.
    pub(super) fn finish(mut self, gradients: &mut Gradients) -> Result<Gradients, Error> {
        while self.round < self.owners.rounds() {
            self.step(gradients)?;
        }
        let joined = self.sums.into_iter().map(|(name, mut pieces)| {
            let whole = if pieces.len() == 1 { pieces.pop() } else { None };
            let whole = whole.map_or_else(|| Tensor::cat(&pieces, 0), Ok)?;
            Ok((name.to_owned(), whole))
        });
        joined.collect()
    }
}

fn add(left: Tensor, right: Tensor) -> Result<Tensor, Error> {
    Ok(if left.elem_count() == 0 { left } else { (left + right)? })
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
