//! The encoders of text, of any family.

use candle_core::{Error, Tensor};
use cog_train_nn::{self as nn, Init, Node, Weight};

use super::bert::{self, Bert};
use super::config::{Config, Family};
use super::heads::{MaskedHead, SequenceHead, TokenHead};
use super::modernbert::{self, ModernBert};
use super::tokens::Tokens;
use super::unpadded::Unpadded;

/// An encoder of text without its head.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    model: Model,
    /// Whether the backward pass computes the activations of each layer again.
    checkpointed: bool,
}

#[derive(Debug, Clone)]
enum Model {
    Bert(Bert),
    ModernBert(ModernBert),
}

impl Encoder {
    /// Builds the encoder that `config` describes; `None` when it describes no encoder of text.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub(crate) fn new(init: &Init, config: &Config) -> Result<Option<Self>, Error> {
        let model = match config.family() {
            Family::Bert(config) => Model::Bert(Bert::new(init, config)?),
            Family::ModernBert(config) => Model::ModernBert(ModernBert::new(init, config)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { model, checkpointed: false }))
    }

    /// Computes the activations of each layer again in the backward pass, instead of keeping them.
    pub(crate) fn set_checkpointed(&mut self, on: bool) {
        self.checkpointed = on;
    }

    /// The table of words, `[vocabulary, hidden]`.
    pub(crate) fn words(&self) -> &Weight {
        match &self.model {
            Model::Bert(bert) => bert.words(),
            Model::ModernBert(bert) => bert.words(),
        }
    }

    /// Computes the last hidden states in one operation of candle's, and `head` of them. `head` takes the states `[b, n, d]` and
    /// the batch that they are of, which has no padding.
    ///
    /// # Errors
    ///
    /// candle's error when an id is not in a table, a text is too long, or the device fails; that of `head`.
    pub(crate) fn forward(
        &self,
        tokens: &Tokens,
        head: impl FnOnce(&Node, &Unpadded) -> Result<Node, Error>,
    ) -> Result<Tensor, Error> {
        tokens.check_ids(self.words().dims2()?.0)?;
        let (most, first) = match &self.model {
            Model::Bert(bert) => (bert.max_length(), bert.first_position()),
            // Rotary positions have no end.
            Model::ModernBert(_) => (usize::MAX, 0),
        };
        if tokens.reach() > most {
            let length = tokens.reach();
            let reason = format!("a text of {length} tokens, and the model has {most} positions");
            return Err(Error::Msg(reason));
        }
        let batch = Unpadded::new(tokens, false, first)?;
        nn::trace([batch.ids()], |[ids]| {
            let x = match &self.model {
                Model::Bert(bert) => bert.forward(&ids, &batch, self.checkpointed)?,
                Model::ModernBert(bert) => bert.forward(&ids, &batch, self.checkpointed)?,
            };
            head(&x, &batch)
        })
    }
}

/// Builds the head of a sequence classifier.
pub(crate) fn sequence_head(init: &Init, config: &Config) -> Result<Option<SequenceHead>, Error> {
    let labels = config.labels().count();
    match config.family() {
        Family::Bert(config) => bert::sequence(init, config, labels).map(Some),
        Family::ModernBert(config) => modernbert::sequence(init, config, labels).map(Some),
        _ => Ok(None),
    }
}

/// Builds the head of a token classifier.
pub(crate) fn token_head(init: &Init, config: &Config) -> Result<Option<TokenHead>, Error> {
    let labels = config.labels().count();
    match config.family() {
        Family::Bert(config) => bert::token(init, config, labels).map(Some),
        Family::ModernBert(config) => modernbert::token(init, config, labels).map(Some),
        _ => Ok(None),
    }
}

/// Builds the head of a masked language model.
pub(crate) fn masked_head(init: &Init, config: &Config) -> Result<Option<MaskedHead>, Error> {
    match config.family() {
        Family::Bert(config) => bert::masked(init, config).map(Some),
        Family::ModernBert(config) => modernbert::masked(init, config).map(Some),
        _ => Ok(None),
    }
}
