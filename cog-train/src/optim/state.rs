//! Restores tensors by name: all of them or none.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use candle_core::{DType, Tensor, Var};

use crate::error::Error;
use cog_train_nn::__private::fused::same_storage;

/// The most names of a kind that an error lists.
const NAMED: usize = 5;

/// Writes `state` into `slots` of the same names and shapes. `what` they are the state of stands in the error.
///
/// # Errors
///
/// [`Error::Checkpoint`] when tensors are missing, not expected or of another shape: then nothing is written.
pub(super) fn restore(
    what: &str,
    slots: &BTreeMap<String, Var>,
    mut state: BTreeMap<String, Tensor>,
) -> Result<(), Error> {
    let missing = slots.keys().filter(|name| !state.contains_key(*name));
    let unexpected = state.keys().filter(|name| !slots.contains_key(*name));
    let misshapen = slots.iter().filter_map(|(name, slot)| {
        let given = state.get(name)?.dims();
        (given != slot.dims()).then(|| format!("`{name}` is {given:?}, expected {:?}", slot.dims()))
    });
    let problems: Vec<_> = [
        list("missing", missing.map(|name| format!("`{name}`"))),
        list("not expected", unexpected.map(|name| format!("`{name}`"))),
        list("of another shape", misshapen),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !problems.is_empty() {
        return Err(Error::Checkpoint { location: what.to_owned(), reason: problems.join("; ") });
    }
    for (name, slot) in slots {
        // Each is freed once it is written.
        let Some(tensor) = state.remove(name) else { continue };
        // A state that was taken from here is here already.
        if !same_storage(slot, &tensor) {
            slot.set(&tensor.to_device(slot.device())?.to_dtype(DType::F32)?)?;
        }
    }
    Ok(())
}

fn list(what: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<_> = names.collect();
    let mut text = format!("{what}: {}", names[..names.len().min(NAMED)].join(", "));
    if names.len() > NAMED {
        let _ = write!(text, " and {} more", names.len() - NAMED);
    }
    (!names.is_empty()).then_some(text)
}
