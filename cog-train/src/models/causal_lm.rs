//! Language models: the scores of the next token, and their loss.

use candle_core::{Device, Error as TensorError, Tensor};
use cog_train_nn::{self as nn, Init, Linear, Node};

use super::body::Body;
use super::cache::KvCache;
use super::config::Config;
use super::tokens::{Targets, Tokens};
use crate::error::Error;

/// The name of the output layer, where it is not the embedding.
pub(crate) const HEAD: &str = "lm_head";

/// The most scores that are held at a time where they cannot be avoided.
const SCORES: usize = 8 << 20;

/// A language model (`AutoModelForCausalLM`).
#[derive(Debug, Clone)]
pub struct CausalLm {
    body: Body,
    head: Linear,
    logit_cap: Option<f64>,
}

impl CausalLm {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a tensor is missing or has another shape; within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let body = Body::new(init, config)?;
        let (hidden, vocabulary) = (config.hidden(), config.vocabulary());
        let own = init.at(HEAD);
        let head = if config.tied() {
            Linear::tied(&own, body.embedding())?
        } else {
            Linear::without_bias(&own, hidden, vocabulary)?
        };
        Ok(Self { body, head, logit_cap: config.logit_cap() })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them,
    /// which takes about a third more time and memory for one layer instead of all. The gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        self.body.set_checkpointed(on);
        self
    }

    /// The device of its tensors.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.body.embedding().device()
    }

    /// Computes a score for each token of the vocabulary to come next, at each position: `[B, T, vocabulary]`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a token has no embedding, a text is longer than the model can see, or the device fails.
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        let logits =
            nn::trace([tokens.ids()], |[ids]| self.scores(&self.body.hidden(&ids, tokens)?))?;
        Ok(logits)
    }

    /// Computes the last layer's output at each position, behind its norm: `[B, T, hidden]`.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::logits`].
    pub fn hidden(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        Ok(nn::trace([tokens.ids()], |[ids]| self.body.hidden(&ids, tokens))?)
    }

    /// Computes the cross-entropy of the targets, added up. Scores are computed only where there is a target, some rows at a
    /// time.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::logits`]; a target that is not of `tokens` or no token.
    pub fn loss(&self, tokens: &Tokens, targets: &Targets) -> Result<Tensor, Error> {
        let sum = nn::trace([tokens.ids()], |[ids]| {
            let hidden = self.body.hidden(&ids, tokens)?;
            let width = hidden.dims().last().copied().unwrap_or(0);
            let flat = nn::reshape(&hidden, ((), width))?;
            let rows = nn::index_select(&flat, 0, targets.rows())?;
            match self.logit_cap {
                None => self.head.cross_entropy(&rows, targets.ids()),
                Some(_) => self.bounded_loss(&rows, targets.ids()),
            }
        })?;
        Ok(sum)
    }

    /// Allocates a cache for a text of `capacity` tokens.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache, Error> {
        Ok(self.body.cache(capacity)?)
    }

    /// A number that changes when the cached keys of a text of `length` tokens cannot be used for a longer one.
    pub(crate) fn cache_variant(&self, length: usize) -> [usize; 2] {
        self.body.cache_variant(length)
    }

    /// The scores after the last of the next tokens of a text, `[1, T]`, whose earlier ones are in the cache.
    pub(crate) fn last_logits(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, Error> {
        let last = ids.dim(1)?.saturating_sub(1);
        Ok(nn::trace([ids], |[ids]| {
            let hidden = self.body.next_hidden(&ids, cache)?;
            self.scores(&nn::narrow(&hidden, 1, last, 1)?)
        })?)
    }

    /// The loss of scores with a bound, of some rows at a time. The backward pass computes their scores again.
    fn bounded_loss(&self, hidden: &Node, targets: &Tensor) -> Result<Node, TensorError> {
        let vocabulary = self.head.weight().dim(0)?;
        let (count, at_once) = (hidden.dims()[0], (SCORES / vocabulary.max(1)).clamp(64, 512));
        let part = |start: usize| {
            let length = at_once.min(count - start);
            let (model, targets) = (self.clone(), targets.narrow(0, start, length)?);
            nn::recompute(&nn::narrow(hidden, 0, start, length)?, move |rows| {
                nn::cross_entropy(&model.scores(rows)?, &targets)
            })
        };
        let mut sum = part(0)?;
        for start in (at_once..count).step_by(at_once) {
            sum = nn::add(&sum, &part(start)?)?;
        }
        Ok(sum)
    }

    fn scores(&self, hidden: &Node) -> Result<Node, TensorError> {
        let scores = self.head.forward(hidden)?;
        match self.logit_cap {
            None => Ok(scores),
            Some(cap) => nn::scale(&nn::tanh(&nn::scale(&scores, 1.0 / cap)?)?, cap),
        }
    }
}
