//! Restores tensors by name: all of them or none.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use candle_core::{DType, Tensor, Var};

use crate::error::Error;
use crate::params::RowRange;
use cog_train_nn::__private::fused::same_storage;

/// The most names of a kind that an error lists.
const NAMED: usize = 5;

/// A tensor of the state of a parameter.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// The parameter's name.
    pub(crate) param: String,
    pub(crate) dims: Vec<usize>,
    pub(crate) dtype: DType,
    /// The rows of the parameter that are updated here. Where they are not all, those of this tensor are the same.
    pub(crate) rows: RowRange,
    /// The storage of these rows; `None` where other ranks have them all.
    pub(crate) var: Option<Var>,
}

impl Slot {
    /// Takes its rows of the values, if it has any.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] for another shape, or when the device fails.
    pub(crate) fn set(&self, values: &Tensor) -> Result<(), Error> {
        // A state that was taken from here is here already.
        if let Some(var) = self.var.as_ref().filter(|var| !same_storage(var, values)) {
            let part = var.dims() != values.dims() && self.dims == values.dims();
            let rows = &self.rows;
            let values =
                if part { values.narrow(0, rows.start, rows.len())? } else { values.clone() };
            var.set(&values.to_device(var.device())?.to_dtype(self.dtype)?)?;
        }
        Ok(())
    }
}

/// Writes `state` into `slots` of the same names and shapes. `what` they are the state of stands in the error.
///
/// # Errors
///
/// [`Error::Checkpoint`] when tensors are missing, not expected or of another shape: then nothing is written.
pub(super) fn restore(
    what: &str,
    slots: Vec<Slot>,
    mut state: BTreeMap<String, Tensor>,
) -> Result<(), Error> {
    check(what, &slots, &state)?;
    for slot in slots {
        // Each is freed once it is written.
        if let Some(tensor) = state.remove(&slot.name) {
            slot.set(&tensor)?;
        }
    }
    Ok(())
}

/// Checks that a state has the names and shapes of `slots`.
///
/// # Errors
///
/// [`Error::Checkpoint`] when tensors are missing, not expected or of another shape.
pub(crate) fn check(
    what: &str,
    slots: &[Slot],
    state: &BTreeMap<String, Tensor>,
) -> Result<(), Error> {
    let slots: BTreeMap<&String, &[usize]> =
        slots.iter().map(|slot| (&slot.name, slot.dims.as_slice())).collect();
    let missing = slots.keys().copied().filter(|name| !state.contains_key(*name));
    let unexpected = state.keys().filter(|name| !slots.contains_key(name));
    let misshapen = slots.iter().filter_map(|(name, dims)| {
        let given = state.get(*name)?.dims();
        (given != *dims).then(|| format!("`{name}` is {given:?}, expected {dims:?}"))
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
