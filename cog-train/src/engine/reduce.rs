//! The sum of a step over the ranks.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::learner::Learner;
use super::sums::Sums;
use super::tree::Tree;
use crate::error::Error;
use crate::metrics::bits;
use crate::parallel::Reduce;
use crate::params::Gradients;
use cog_train_nn::__private::norm::sums_of_squares;

/// The gradients of this rank's micro-batches. Of the model only its buffers have changed.
pub(super) struct Computed {
    pub(super) gradients: Gradients,
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

/// The squares of a gradient.
#[derive(Serialize, Deserialize)]
struct Squares {
    name: String,
    #[serde(with = "bits")]
    sum: f64,
}

/// Adds up the gradients and the losses of all ranks.
///
/// # Errors
///
/// [`Error::Ranks`] when a rank is lost; [`Error::Tensor`] when the device fails.
pub(super) fn reduce(
    learner: &Learner<'_>,
    computed: Computed,
    how: Reduce,
) -> Result<Reduced, Error> {
    let Computed { mut gradients, mut loss, before } = computed;
    let Learner { params, ranks, owners, .. } = learner;
    if !ranks.is_alone() {
        let own = Contribution { loss, present: owners.present(&gradients) };
        let (mut tree, mut present) = (Tree::default(), Vec::new());
        for Contribution { loss, present: of_rank } in ranks.share(own)? {
            // The ranks without micro-batches are the last ones.
            if let Some(loss) = loss {
                tree.push(loss, sum_of_losses)?;
            }
            present.push(of_rank);
        }
        loss = tree.finish(sum_of_losses)?;
        gradients = owners.reduce(gradients, &present, params, ranks, how)?;
    }
    let sums = sums_of_squares(gradients.iter().map(|(_, gradient)| gradient))?;
    let names = gradients.iter().map(|(name, _)| name.to_owned());
    let own: Vec<Squares> = names.zip(sums).map(|(name, sum)| Squares { name, sum }).collect();
    let all = ranks.share(own)?.into_iter().flatten();
    let squares: BTreeMap<String, f64> = all.map(|Squares { name, sum }| (name, sum)).collect();
    // In the order of names, whoever has computed them.
    let norm = squares.values().fold(0.0, |sum, squares| sum + squares).sqrt();
    let loss = loss.unwrap_or_default();
    let norm = if loss.weight == 0.0 { 0.0 } else { norm / loss.weight };
    Ok(Reduced { gradients, squares, loss, norm, before })
}
