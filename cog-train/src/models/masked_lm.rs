//! Masked language models.

use candle_core::Tensor;
use cog_train_nn::{self as nn, Init};

use super::config::{Config, encoder_families};
use super::encoder::{Encoder, masked_head};
use super::heads::MaskedHead;
use super::targets::Targets;
use super::tokens::Tokens;
use crate::error::Error;

/// A model that predicts masked tokens (`AutoModelForMaskedLM`). Its output layer is the table of words.
#[derive(Debug, Clone)]
pub struct MaskedLm {
    encoder: Encoder,
    head: MaskedHead,
}

impl MaskedLm {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the family has no such head; [`Error::Tensor`] when a tensor is missing or has another shape;
    /// within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let parts = Encoder::new(init, config)?.zip(masked_head(init, config)?);
        let (encoder, head) = parts
            .ok_or_else(|| config.without_head("masked language modelling", encoder_families()))?;
        Ok(Self { encoder, head })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them. The
    /// gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        self.encoder.set_checkpointed(on);
        self
    }

    /// Computes the scores of every word at each position, `[B, T, vocabulary]`; those of padding are 0.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a token has no embedding, a text is longer than the model can see, or the device fails.
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        let words = self.encoder.words();
        Ok(self.encoder.forward(tokens, |x, batch| batch.padded(&self.head.forward(x, words)?))?)
    }

    /// Computes the cross-entropy of the masked tokens, added up. [`Targets::of_next`] takes the word that was at each position
    /// before it was masked, and [`Targets::IGNORED`] elsewhere: scores are computed only where there is a target.
    ///
    /// # Errors
    ///
    /// Those of [`logits`](Self::logits); a target that is not of `tokens` or no word.
    pub fn loss(&self, tokens: &Tokens, targets: &Targets) -> Result<Tensor, Error> {
        let words = self.encoder.words();
        Ok(self.encoder.forward(tokens, |x, batch| {
            let rows = batch.at(x, targets.rows())?;
            nn::cross_entropy(&self.head.forward(&rows, words)?, targets.ids())
        })?)
    }
}
