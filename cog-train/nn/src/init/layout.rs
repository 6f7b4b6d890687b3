//! The tensors and layers of a model without its values.

use std::collections::BTreeMap;

use candle_core::Shape;

/// A layer that may have a low-rank branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// The kind of the layer.
    pub kind: LayerKind,
    /// The inputs of a linear layer, or the rows of an embedding.
    pub inputs: usize,
    /// The outputs, or the width of an embedding.
    pub outputs: usize,
}

/// The tensors and the layers that a model asks for.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The shapes of the tensors, by name.
    pub tensors: BTreeMap<String, Shape>,
    /// The layers that may have a [low-rank branch](crate::Init::low_rank), by path.
    pub layers: BTreeMap<String, Layer>,
}

/// The kind of a [`Layer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerKind {
    /// A [`Linear`](crate::Linear).
    Linear {
        /// Whether its weight belongs to another layer.
        tied: bool,
    },
    /// An [`Embedding`](crate::Embedding).
    Embedding,
}
