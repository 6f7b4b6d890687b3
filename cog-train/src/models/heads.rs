//! The parts that heads are made of.

use candle_core::{Error, Tensor};
use cog_train_nn::{Dropout, LayerNorm, Linear, Node, Weight};

use super::layers::Activation;
use super::unpadded::Unpadded;

/// A linear layer and an activation function, and a normalization in some heads.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    pub(crate) linear: Linear,
    pub(crate) activation: Activation,
    pub(crate) norm: Option<LayerNorm>,
}

impl Dense {
    pub(crate) fn forward(&self, x: &Node) -> Result<Node, Error> {
        let x = self.activation.forward(&self.linear.forward(x)?)?;
        self.norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))
    }
}

/// The vector of each row that a sequence classifier sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowPooling {
    First,
    Mean,
}

/// The head of a sequence classifier.
#[derive(Debug, Clone)]
pub(crate) struct SequenceHead {
    pub(crate) pooling: RowPooling,
    /// Before the first layer, in some families.
    pub(crate) first_dropout: Option<Dropout>,
    pub(crate) dense: Dense,
    /// Before the last layer.
    pub(crate) dropout: Dropout,
    pub(crate) output: Linear,
}

impl SequenceHead {
    /// Returns the scores `[B, labels]` of hidden states `[b, n, d]`.
    pub(crate) fn forward(&self, x: &Node, batch: &Unpadded) -> Result<Node, Error> {
        let pooled = match self.pooling {
            RowPooling::First => batch.first(x)?,
            RowPooling::Mean => batch.mean(x)?,
        };
        let pooled = match &self.first_dropout {
            Some(dropout) => dropout.forward(&pooled)?,
            None => pooled,
        };
        self.output.forward(&self.dropout.forward(&self.dense.forward(&pooled)?)?)
    }
}

/// The head of a token classifier.
#[derive(Debug, Clone)]
pub(crate) struct TokenHead {
    pub(crate) dense: Option<Dense>,
    /// Before the last layer.
    pub(crate) dropout: Dropout,
    pub(crate) output: Linear,
}

impl TokenHead {
    /// Returns the scores `[.., labels]` of hidden states `[.., d]`.
    pub(crate) fn forward(&self, x: &Node) -> Result<Node, Error> {
        let dense = self.dense.as_ref();
        let x = dense.map_or(Ok(x.clone()), |dense| dense.forward(x))?;
        self.output.forward(&self.dropout.forward(&x)?)
    }
}

/// The head of a masked language model. Its last weight is the table of words.
#[derive(Debug, Clone)]
pub(crate) struct MaskedHead {
    pub(crate) dense: Dense,
    pub(crate) bias: Option<Tensor>,
}

impl MaskedHead {
    /// Returns the scores `[.., vocab]` of hidden states `[.., d]`.
    pub(crate) fn forward(&self, x: &Node, words: &Weight) -> Result<Node, Error> {
        let output = Linear::from_tensors(words.clone(), self.bias.clone());
        output.forward(&self.dense.forward(x)?)
    }
}
