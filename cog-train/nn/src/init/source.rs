//! The tensors that a model is built from, by their full names.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Error, Shape, Tensor, Var};

use super::layout::Layer;
use crate::initializer::Initializer;
use crate::kernels::host;
use crate::kernels::quantized::Quantized;
use crate::low_rank::LowRank;
use crate::pattern::matches;
use crate::rng::Rng;

/// The tensors behind an [`Init`](super::Init): those that are loaded, those that are drawn, and the requested ones.
pub(super) struct Source {
    pub(super) loaded: BTreeMap<String, Tensor>,
    pub(super) quantized: BTreeMap<String, Quantized>,
    /// The names of the quantized matrices that were requested.
    pub(super) taken: BTreeSet<String>,
    /// Tensors that are not loaded are drawn if a pattern fits; the last one counts.
    pub(super) drawn: Vec<(String, Rng)>,
    pub(super) dtype: DType,
    /// The type that the model computes in, where it may differ from that of the loaded tensors.
    pub(super) computes_in: Option<DType>,
    pub(super) device: Device,
    pub(super) initializers: Vec<Choice>,
    /// Names that may be left over.
    pub(super) ignored: Vec<String>,
    /// The layers that were built, by path.
    pub(super) layers: BTreeMap<String, Layer>,
    pub(super) low_rank: BTreeMap<String, LowRank>,
    /// The requested tensors.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Gathered within [`Init::build`](super::Init::build).
    pub(super) problems: Option<Vec<String>>,
    /// Whether nothing is made: within [`Init::shapes_of`](super::Init::shapes_of).
    pub(super) shapes_only: bool,
}

/// An initializer for the names that match.
pub(super) struct Choice {
    pub(super) pattern: String,
    pub(super) initializer: Initializer,
    pub(super) used: bool,
}

impl Source {
    /// Returns the initializer that the last matching pattern chooses, and marks all that match.
    pub(super) fn chosen(&mut self, name: &str, initializer: Initializer) -> Initializer {
        let mut chosen = initializer;
        for choice in self.initializers.iter_mut().filter(|choice| matches(&choice.pattern, name)) {
            (chosen, choice.used) = (choice.initializer, true);
        }
        chosen
    }

    /// Returns a tensor, or the problem with it.
    pub(super) fn find(
        &mut self,
        name: &str,
        shape: &Shape,
        initializer: Initializer,
    ) -> Result<Result<Tensor, String>, Error> {
        let chosen = self.chosen(name, initializer);
        if self.tensors.contains_key(name) {
            return Ok(Err(format!("`{name}` was requested twice")));
        }
        if self.shapes_only {
            return Ok(Ok(Tensor::zeros((), self.dtype, &self.device)?.broadcast_as(shape)?));
        }
        if let Some(tensor) = self.loaded.get(name) {
            return Ok(if tensor.shape() == shape {
                Ok(match self.computes_in {
                    Some(dtype) if tensor.dtype().is_float() => tensor.to_dtype(dtype)?,
                    _ => tensor.clone(),
                })
            } else {
                let (found, needed) = (tensor.dims(), shape.dims());
                Err(format!("`{name}` has the shape {found:?}, and the model needs {needed:?}"))
            });
        }
        if let Some(matrix) = self.quantized.get(name) {
            let layout = matrix.layout();
            return Ok(Err(format!(
                "`{name}` is quantized ({layout}), and only linear layers and embeddings take that"
            )));
        }
        let Some((_, rng)) = self.drawn.iter().rev().find(|(pattern, _)| matches(pattern, name))
        else {
            return Ok(Err(format!("`{name}` is missing")));
        };
        let tensor = chosen.draw(shape, rng.at(digest(name)), self.dtype, &self.device)?;
        Ok(Ok(Var::from_tensor(&tensor)?.into_inner()))
    }

    /// Returns a frozen matrix of 16-bit floats that stays as it is under a model that computes in 32 bits.
    pub(super) fn held(&mut self, name: &str, sizes: (usize, usize)) -> Option<Quantized> {
        let tensor = self.loaded.get(name)?;
        let narrow = matches!(tensor.dtype(), DType::F16 | DType::BF16) && !tensor.track_op();
        let held = narrow
            && self.computes_in == Some(DType::F32)
            && host::on_cpu(tensor)
            && tensor.dims() == [sizes.0, sizes.1]
            && !self.tensors.contains_key(name);
        let matrix = held.then(|| Quantized::from_floats(tensor).ok()).flatten()?;
        self.tensors.insert(name.to_owned(), tensor.clone());
        Some(matrix.to_dtype(DType::F32))
    }

    /// Returns a quantized matrix, or the problem with it.
    pub(super) fn find_quantized(
        &mut self,
        name: &str,
        sizes: (usize, usize),
    ) -> Option<Result<Quantized, String>> {
        let matrix = self.quantized.get(name)?;
        let (found, needed) = (matrix.dims(), sizes);
        let first = self.taken.insert(name.to_owned());
        Some(if self.loaded.contains_key(name) {
            Err(format!("`{name}` is there twice, as a tensor and quantized"))
        } else if found != needed {
            let (found, needed) = ([found.0, found.1], [needed.0, needed.1]);
            Err(format!("`{name}` has the shape {found:?}, and the model needs {needed:?}"))
        } else if first {
            Ok(matrix.clone())
        } else {
            Err(format!("`{name}` was requested twice"))
        })
    }

    /// Returns a problem for each loaded tensor and each pattern that the model does not use.
    pub(super) fn left_over(&self) -> Vec<String> {
        let ignored = |name: &str| self.ignored.iter().any(|pattern| matches(pattern, name));
        let tensors = self.loaded.keys().filter(|name| !self.tensors.contains_key(*name));
        let quantized = self.quantized.keys().filter(|name| !self.taken.contains(*name));
        let tensors = tensors.chain(quantized);
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

/// FNV-1a over 64 bits.
pub(super) fn digest(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
