//! The tensors that layers ask for: found, drawn, or missing.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Error, Shape, Tensor, Var};

use super::layout::Layer;
use crate::initializer::Initializer;
use crate::low_rank::LowRank;
use crate::rng::Rng;

/// The tensors of an [`Init`](crate::Init), and what has been asked for.
pub(super) struct Source {
    pub(super) loaded: BTreeMap<String, Tensor>,
    /// Tensors that are not loaded are drawn if a pattern fits; the last one counts.
    pub(super) drawn: Vec<(String, Rng)>,
    pub(super) dtype: DType,
    pub(super) device: Device,
    pub(super) initializers: Vec<Choice>,
    /// Names that may be left over.
    pub(super) ignored: Vec<String>,
    /// The layers that were built, by path.
    pub(super) layers: BTreeMap<String, Layer>,
    pub(super) low_rank: BTreeMap<String, LowRank>,
    /// The requested tensors.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Gathered within [`Init::build`](crate::Init::build).
    pub(super) problems: Option<Vec<String>>,
    /// Whether nothing is made: within [`Init::shapes_of`](crate::Init::shapes_of).
    pub(super) shapes_only: bool,
}

/// An initializer in place of a layer's own.
pub(super) struct Choice {
    pub(super) pattern: String,
    pub(super) initializer: Initializer,
    pub(super) used: bool,
}

impl Source {
    /// A tensor, or what is wrong with it.
    pub(super) fn find(
        &mut self,
        name: &str,
        shape: &Shape,
        initializer: Initializer,
    ) -> Result<Result<Tensor, String>, Error> {
        let mut chosen = initializer;
        for choice in self.initializers.iter_mut().filter(|choice| matches(&choice.pattern, name)) {
            (chosen, choice.used) = (choice.initializer, true);
        }
        if self.tensors.contains_key(name) {
            return Ok(Err(format!("`{name}` was asked for twice")));
        }
        if self.shapes_only {
            return Ok(Ok(Tensor::zeros((), self.dtype, &self.device)?.broadcast_as(shape)?));
        }
        if let Some(tensor) = self.loaded.get(name) {
            return Ok(if tensor.shape() == shape {
                Ok(tensor.clone())
            } else {
                let (found, needed) = (tensor.dims(), shape.dims());
                Err(format!("`{name}` has the shape {found:?}, and the model needs {needed:?}"))
            });
        }
        let Some((_, rng)) = self.drawn.iter().rev().find(|(pattern, _)| matches(pattern, name))
        else {
            return Ok(Err(format!("`{name}` is missing")));
        };
        let tensor = chosen.draw(shape, rng.at(digest(name)), self.dtype, &self.device)?;
        Ok(Ok(Var::from_tensor(&tensor)?.into_inner()))
    }

    /// Loaded tensors and patterns that the model has no use for.
    pub(super) fn left_over(&self) -> Vec<String> {
        let ignored = |name: &str| self.ignored.iter().any(|pattern| matches(pattern, name));
        let tensors = self.loaded.keys().filter(|name| !self.tensors.contains_key(*name));
        let unused = self.initializers.iter().filter(|choice| !choice.used);
        let tensors = tensors
            .filter(|name| !ignored(name))
            .map(|name| format!("`{name}` is not of this model"));
        let branches = self.low_rank.keys().filter(|path| !self.layers.contains_key(*path));
        let branches = branches.map(|path| format!("no layer `{path}` takes a low-rank branch"));
        tensors
            .chain(branches)
            .chain(unused.map(|choice| format!("no tensor is called `{}`", choice.pattern)))
            .collect()
    }
}

/// Whether a name matches a pattern, in which `*` stands for any text.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices().any(|(at, _)| matches(rest, &name[at..])) || matches(rest, "")
        }),
    }
}

/// FNV-1a over 64 bits.
pub(super) fn digest(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
