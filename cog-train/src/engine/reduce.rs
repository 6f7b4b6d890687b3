//! The sum of a step over the ranks.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::learner::Learner;
use super::owners::blocks;
use super::sums::Sums;
use super::tree::Tree;
use crate::error::Error;
use crate::metrics::bits;
use crate::params::Gradients;
use cog_train_nn::__private::norm::sums_of_squares;

/// The gradients of a batch that this rank updates by, before they are known to be good. Of the model only its buffers have changed.
pub(super) struct Computed {
    pub(super) gradients: Gradients,
    /// Whether this rank has a gradient of each trained tensor, in the order of names, on several ranks.
    pub(super) present: Vec<bool>,
    /// `None` without micro-batches.
    pub(super) loss: Option<Sums>,
    /// The model's buffers before the step, by name.
    pub(super) before: BTreeMap<String, Tensor>,
}

/// The gradients of a batch.
pub(super) struct Reduced {
    /// Those that this rank updates by.
    pub(super) gradients: Gradients,
    /// The sum of the squares of each gradient of a batch.
    pub(super) squares: BTreeMap<String, f64>,
    pub(super) loss: Sums,
    /// The norm of the gradient of the mean loss, before it is clipped.
    pub(super) norm: f64,
    /// The model's buffers before the step, by name.
    pub(super) before: BTreeMap<String, Tensor>,
}

#[expect(clippy::unnecessary_wraps, reason = "an addition of a tree may fail")]
pub(super) fn sum_of_losses(mut one: Sums, two: Sums) -> Result<Sums, Error> {
    one.add(two);
    Ok(one)
}

/// The part of a rank in a batch.
#[derive(Serialize, Deserialize)]
struct Contribution {
    loss: Option<Sums>,
    /// Whether there is a gradient of each trained tensor, in the order of names.
    present: Vec<bool>,
}

/// The squares of a block of a gradient.
#[derive(Serialize, Deserialize)]
struct Squares {
    name: String,
    #[serde(with = "bits")]
    sum: f64,
}

/// Adds up the losses of all ranks, and the squares of the gradients.
///
/// # Errors
///
/// [`Error::Ranks`] when a rank is lost; [`Error::Tensor`] when the device fails.
pub(super) fn reduce(learner: &Learner<'_>, computed: Computed) -> Result<Reduced, Error> {
    let Computed { mut gradients, present, mut loss, before } = computed;
    let Learner { ranks, owners, .. } = learner;
    if !ranks.is_alone() {
        let own = Contribution { loss, present };
        let (mut tree, mut any) = (Tree::default(), vec![false; own.present.len()]);
        for Contribution { loss, present } in ranks.share(own)? {
            // The ranks without micro-batches are the last ones.
            if let Some(loss) = loss {
                tree.push(loss, sum_of_losses)?;
            }
            any.iter_mut().zip(present).for_each(|(any, present)| *any |= present);
        }
        loss = tree.finish(sum_of_losses)?;
        for (name, _) in owners.names().zip(any).filter(|(_, any)| !any) {
            gradients.remove(name);
        }
    }
    let mut all = Vec::new();
    for (name, gradient) in gradients.iter() {
        all.extend(blocks(gradient)?.into_iter().map(|block| (name, block)));
    }
    let sums = sums_of_squares(all.iter().map(|(_, block)| block))?;
    let named = all.iter().zip(sums).map(|((name, _), sum)| Squares { name: (*name).into(), sum });
    let own: Vec<Squares> = named.collect();
    // Ranks own the blocks of a tensor in their order.
    let mut squares: BTreeMap<String, f64> = BTreeMap::new();
    for Squares { name, sum } in ranks.share(own)?.into_iter().flatten() {
        *squares.entry(name).or_insert(0.0) += sum;
    }
    // In the order of names, whoever has computed them.
    let norm = squares.values().fold(0.0, |sum, squares| sum + squares).sqrt();
    let loss = loss.unwrap_or_default();
    let norm = if loss.weight == 0.0 { 0.0 } else { norm / loss.weight };
    Ok(Reduced { gradients, squares, loss, norm, before })
}
