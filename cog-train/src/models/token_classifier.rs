//! Classifiers of tokens.

use candle_core::Tensor;
use cog_train_nn::{self as nn, Init};

use super::config::{Config, encoder_families};
use super::encoder::{Encoder, token_head};
use super::heads::TokenHead;
use super::labels::Labels;
use super::targets::Targets;
use super::tokens::Tokens;
use crate::error::Error;

/// A model with a class for each token, such as the names in a text (`AutoModelForTokenClassification`).
#[derive(Debug, Clone)]
pub struct TokenClassifier {
    encoder: Encoder,
    head: TokenHead,
    labels: Labels,
}

impl TokenClassifier {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the family has no such head; [`Error::Tensor`] when a tensor is missing or has another shape;
    /// within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let parts = Encoder::new(init, config)?.zip(token_head(init, config)?);
        let (encoder, head) =
            parts.ok_or_else(|| config.without_head("token classification", encoder_families()))?;
        Ok(Self { encoder, head, labels: config.labels().clone() })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them. The
    /// gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        self.encoder.set_checkpointed(on);
        self
    }

    /// The labels of its scores.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Computes the scores of each token, `[B, T, labels]`; those of padding are 0.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a token has no embedding, a text is longer than the model can see, or the device fails.
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        Ok(self.encoder.forward(tokens, |x, batch| batch.padded(&self.head.forward(x)?))?)
    }

    /// Computes the cross-entropy of the targets, added up. [`Targets::of_next`] takes the class of each token, or
    /// [`Targets::IGNORED`].
    ///
    /// # Errors
    ///
    /// Those of [`logits`](Self::logits); a target that is not of `tokens` or no class.
    pub fn loss(&self, tokens: &Tokens, targets: &Targets) -> Result<Tensor, Error> {
        Ok(self.encoder.forward(tokens, |x, batch| {
            nn::cross_entropy(&self.head.forward(&batch.at(x, targets.rows())?)?, targets.ids())
        })?)
    }
}
