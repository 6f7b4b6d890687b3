//! Embeddings of texts.

use candle_core::{DType, Tensor};
use cog_train_nn::Init;

use super::config::{Config, encoder_families};
use super::encoder::Encoder;
use super::pooling::{Pooling, PoolingMode, unit_length};
use super::tokens::Tokens;
use crate::error::Error;

/// A model with one vector for each text, as a folder of sentence-transformers describes it.
///
/// ```no_run
/// use cog_train::candle_core::Device;
/// use cog_train::models::{Pooling, Pretrained, TextEmbedder, Tokens};
/// use cog_train::nn::Init;
///
/// let base = Pretrained::open("all-MiniLM-L6-v2")?;
/// let pooling = Pooling::open(base.folder())?;
/// let model = |init: &Init| TextEmbedder::new(init, base.config(), pooling);
/// let model = Init::from_tensors(base.tensors_of(&Device::Cpu, model)?).build(model)?;
/// let tokens = Tokens::padded(&[vec![101, 7592, 102], vec![101, 102]], 0, &Device::Cpu)?;
/// let embeddings = model.embed(&tokens)?; // [2, 384]
/// # drop(embeddings);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TextEmbedder {
    encoder: Encoder,
    pooling: Pooling,
}

impl TextEmbedder {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the family is no encoder; [`Error::Tensor`] when a tensor is missing or has another shape;
    /// within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config, pooling: Pooling) -> Result<Self, Error> {
        let encoder = Encoder::new(init, config)?;
        let encoder = encoder
            .ok_or_else(|| config.without_head("embeddings of texts", encoder_families()))?;
        Ok(Self { encoder, pooling })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them. The
    /// gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        self.encoder.set_checkpointed(on);
        self
    }

    /// The pooling.
    #[must_use]
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// Computes the last hidden states of each token, `[B, T, hidden]`; those of padding are 0.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a token has no embedding, a text is longer than the model can see, or the device fails.
    pub fn hidden(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        Ok(self.encoder.forward(tokens, |x, batch| batch.padded(x))?)
    }

    /// Computes the embedding of each text, `[B, hidden]` of 32 bits.
    ///
    /// # Errors
    ///
    /// Those of [`hidden`](Self::hidden); a row that holds several texts.
    pub fn embed(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        let pooled = self.encoder.forward(tokens, |x, batch| match self.pooling.mode() {
            PoolingMode::Mean => batch.mean(x),
            PoolingMode::Cls => batch.first(x),
        })?;
        let pooled = pooled.to_dtype(DType::F32)?;
        Ok(if self.pooling.is_normalized() { unit_length(&pooled)? } else { pooled })
    }
}
