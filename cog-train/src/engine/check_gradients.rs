//! The check that every trained parameter gets a gradient. candle has fast operations without a backward pass, which cut the
//! graph silently: the parameters before them are never trained.
//!
//! candle does not record which of these operations made a tensor, so the error names the parameters and all the operations
//! that are known to cut the graph.
//!
//! A parameter without any gradient is refused at the first update. A gradient of zero is accepted for [`PATIENCE`]
//! updates, since a sound model may begin with one.

use std::collections::BTreeMap;

use super::state::State;
use crate::error::{Error, counted};
use crate::params::{Param, Params};

/// The updates for which a gradient of zero is accepted. LoRA's first matrix has a gradient of zero as long as the second is
/// zero, which one update ends; a few more leave room for paths that open later.
const PATIENCE: u64 = 5;
/// The most names that an error shows.
const SHOWN: usize = 10;

/// Checks the gradients of a step until each parameter has had one that is not zero. A parameter without any gradient is an
/// error at once, one whose gradient stays zero is an error after some updates. `squares` has the sum of the squares of each
/// gradient.
///
/// # Errors
///
/// [`Error::Diverged`] with the names.
pub(super) fn check(
    params: &Params,
    squares: &BTreeMap<String, f64>,
    state: &mut State,
) -> Result<(), Error> {
    let Some(known) = &state.without_gradient else { return Ok(()) };
    let first = state.updates == 0;
    if first {
        let missing: Vec<&str> = params
            .trainable()
            .map(|(name, _)| name)
            .filter(|name| !squares.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            return Err(refused(state.step, &missing, params, "no gradient"));
        }
    }
    let mut still = Vec::new();
    for (name, squares) in squares {
        // In 64 bits no square of a 32-bit float is rounded to zero.
        let is_zero = *squares == 0.0 && params.get(name).is_some_and(has_elements);
        if is_zero && (first || known.contains(name)) {
            still.push(name.clone());
        }
    }
    if !still.is_empty() && state.updates >= PATIENCE {
        let names: Vec<&str> = still.iter().map(String::as_str).collect();
        return Err(refused(state.step, &names, params, "a gradient of zero at every step"));
    }
    state.without_gradient = if still.is_empty() { None } else { Some(still) };
    Ok(())
}

/// Whether there is something that could be trained.
fn has_elements(param: &Param) -> bool {
    param.compute().elem_count() > 0
}

fn refused(step: u64, names: &[&str], params: &Params, what: &str) -> Error {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!(" and {more} more"),
        _ => String::new(),
    };
    let get = if names.len() == 1 { "gets" } else { "get" };
    Error::Diverged {
        step: step + 1,
        reason: format!(
            "{} of {} {get} {what}: {}{more}\nhint: `detach()`, indices, comparisons and candle_nn's \
             `softmax_last_dim`, `layer_norm`, `rms_norm`, `LayerNorm`, `RmsNorm`, `rope`, `rope_i`, `rope_thd` and `sdpa` cut \
             the graph; `cog_train::nn` has a differentiable `LayerNorm`, `RmsNorm`, `Rope` and `attention`, and \
             `candle_nn::ops::softmax` is differentiable; freeze what is not meant to be trained",
            names.len(),
            counted(params.trainable().count(), "trained parameter"),
            shown.join(", "),
        ),
    }
}
