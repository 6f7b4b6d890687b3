//! Whether every parameter that is trained gets a gradient. candle has fast operations without a backward pass, which cut
//! the graph in silence: what lies before them is never trained.
//!
//! Which of these operations it was cannot be told: a tensor that one of them made is, to candle, one that nothing made,
//! without a name or an origin. So the error names the parameters, and all the operations that are known to do it.
//!
//! A parameter without any gradient is refused at the first update. One whose gradient is zero is borne for
//! [`PATIENCE`] updates, for a zero is also what a sound model may begin with.

use candle_core::Tensor;

use super::state::State;
use crate::error::Error;
use crate::params::Gradients;
use crate::params::Params;

/// The updates for which a gradient of zero is borne. LoRA's first matrix has a gradient of zero as long as the second is
/// zero, which one update ends; a few more leave room for paths that open later.
const PATIENCE: u64 = 5;
/// How many names an error shows.
const SHOWN: usize = 10;

/// Looks at the gradients of a step until each parameter has had one that is not zero. A parameter without any gradient
/// is an error at once, one whose gradient stays zero is an error after some updates.
///
/// # Errors
///
/// [`Error::Diverged`] with the names.
pub(super) fn look(params: &Params, gradients: &Gradients, state: &mut State) -> Result<(), Error> {
    let Some(silent) = &state.silent else { return Ok(()) };
    let first = state.updates == 0;
    if first {
        let missing: Vec<&str> = params
            .trainable()
            .map(|(name, _)| name)
            .filter(|name| gradients.get(name).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(refused(state.step, &missing, params, "no gradient"));
        }
    }
    let mut still = Vec::new();
    for (name, gradient) in gradients.iter() {
        if (first || silent.iter().any(|known| known == name)) && is_zero(gradient)? {
            still.push(name.to_owned());
        }
    }
    if !still.is_empty() && state.updates >= PATIENCE {
        let names: Vec<&str> = still.iter().map(String::as_str).collect();
        return Err(refused(state.step, &names, params, "a gradient of zero at every step"));
    }
    state.silent = if still.is_empty() { None } else { Some(still) };
    Ok(())
}

fn is_zero(gradient: &Tensor) -> Result<bool, Error> {
    Ok(gradient.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()? == 0.0)
}

fn refused(step: u64, names: &[&str], params: &Params, what: &str) -> Error {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!(" and {more} more"),
        _ => String::new(),
    };
    Error::Diverged {
        step: step + 1,
        reason: format!(
            "{} of {} trained parameters get {what}: {}{more}\nhint: `detach()` and candle_nn's `softmax_last_dim`, \
             `layer_norm`, `rms_norm`, `LayerNorm`, `RmsNorm`, `rope`, `rope_i`, `rope_thd` and `sdpa` cut the graph, and \
             so do indices and comparisons; spell these out in plain operations, or freeze what is not meant to be trained",
            names.len(),
            params.trainable().count(),
            shown.join(", "),
        ),
    }
}
