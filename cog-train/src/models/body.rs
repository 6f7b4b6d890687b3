//! A model without its head, of any family.

use candle_core::{Error, Tensor};
use cog_train_nn::{Init, Node};

use super::cache::KvCache;
use super::config::{Config, Family};
use super::decoder::Decoder;
use super::names::Names;
use super::tokens::Tokens;

/// A model without its head.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Decoder(Decoder),
}

impl Body {
    pub(crate) fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        Ok(match config.family() {
            Family::Decoder(config) => Self::Decoder(Decoder::new(&init.at("model"), config)?),
        })
    }

    /// The last layer's output of each token, `[B, T, hidden]`. `ids` are those of `tokens`.
    pub(crate) fn hidden(&self, ids: &Node, tokens: &Tokens) -> Result<Node, Error> {
        match self {
            Self::Decoder(body) => body.hidden(ids, tokens),
        }
    }

    /// The same of the next tokens of a text, `[1, T]`, whose earlier ones are in the cache.
    pub(crate) fn next_hidden(&self, ids: &Node, cache: &mut KvCache) -> Result<Node, Error> {
        match self {
            Self::Decoder(body) => body.next_hidden(ids, cache),
        }
    }

    /// Allocates a cache for a text of `capacity` tokens.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache, Error> {
        match self {
            Self::Decoder(body) => body.cache(capacity),
        }
    }

    /// A number that changes when the cached keys of a text of `length` tokens cannot be used for a longer one.
    pub(crate) fn cache_variant(&self, length: usize) -> [usize; 2] {
        match self {
            Self::Decoder(body) => body.cache_variant(length),
        }
    }

    /// The table of the tokens, `[vocabulary, hidden]`.
    pub(crate) fn embedding(&self) -> &Tensor {
        match self {
            Self::Decoder(body) => body.embedding(),
        }
    }

    /// Computes the activations of each layer again in the backward pass, instead of keeping them.
    pub(crate) fn set_checkpointed(&mut self, on: bool) {
        match self {
            Self::Decoder(body) => body.set_checkpointed(on),
        }
    }
}

/// The names of a model's tensors.
pub(crate) fn names(config: &Config) -> &'static Names {
    match config.family() {
        Family::Decoder(_) => &Names {
            prefix: "model.",
            heads: &["lm_head.", "score."],
            harmless: &["rotary_emb.inv_freq"],
            renamed: &[],
        },
    }
}
