//! A model without its head, of any family.

use candle_core::Error;
use cog_train_nn::{Init, Node, Weight};

use super::cache::KvCache;
use super::config::{Config, Family};
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::gpt2::Gpt2;
use super::names::Names;
use super::tokens::Tokens;
use super::vit::{self, Vit};
use super::{bert, gpt2, modernbert};

/// A language model without its head.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Decoder(Decoder),
    Gpt2(Gpt2),
}

impl Body {
    /// Builds the body that `config` describes; `None` when the family predicts no next token.
    pub(crate) fn new(init: &Init, config: &Config) -> Result<Option<Self>, Error> {
        Ok(match config.family() {
            Family::Decoder(config) => {
                Some(Self::Decoder(Decoder::new(&init.at("model"), config)?))
            }
            Family::Gpt2(config) => Some(Self::Gpt2(Gpt2::new(init, config)?)),
            Family::Bert(_) | Family::ModernBert(_) | Family::Vit(_) => None,
        })
    }

    /// The last layer's output of each token, `[B, T, hidden]`. `ids` are those of `tokens`.
    pub(crate) fn hidden(&self, ids: &Node, tokens: &Tokens) -> Result<Node, Error> {
        match self {
            Self::Decoder(body) => {
                tokens.check_ids(body.embedding().dims2()?.0)?;
                body.hidden(ids, tokens)
            }
            Self::Gpt2(body) => body.hidden(ids, tokens),
        }
    }

    /// The same of the next tokens of a text, `[1, T]`, whose earlier ones are in the cache.
    pub(crate) fn next_hidden(&self, ids: &Node, cache: &mut KvCache) -> Result<Node, Error> {
        match self {
            Self::Decoder(body) => body.next_hidden(ids, cache),
            Self::Gpt2(body) => body.next_hidden(ids, cache),
        }
    }

    /// Allocates a cache for a text of `capacity` tokens.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache, Error> {
        match self {
            Self::Decoder(body) => body.cache(capacity),
            Self::Gpt2(body) => body.cache(capacity),
        }
    }

    /// A number that changes when the cached keys of a text of `length` tokens cannot be used for a longer one.
    pub(crate) fn cache_variant(&self, length: usize) -> [usize; 2] {
        match self {
            Self::Decoder(body) => body.cache_variant(length),
            Self::Gpt2(_) => [0; 2],
        }
    }

    /// The table of the tokens, `[vocabulary, hidden]`.
    pub(crate) fn embedding(&self) -> &Weight {
        match self {
            Self::Decoder(body) => body.embedding(),
            Self::Gpt2(body) => body.embedding(),
        }
    }

    /// Computes the activations of each layer again in the backward pass, instead of keeping them.
    pub(crate) fn set_checkpointed(&mut self, on: bool) {
        match self {
            Self::Decoder(body) => body.set_checkpointed(on),
            Self::Gpt2(body) => body.set_checkpointed(on),
        }
    }
}

/// Builds a model without its head, for the names and shapes of its tensors.
pub(crate) fn build(init: &Init, config: &Config) -> Result<(), Error> {
    match config.family() {
        Family::Decoder(_) | Family::Gpt2(_) => Body::new(init, config).map(drop),
        Family::Bert(_) | Family::ModernBert(_) => Encoder::new(init, config).map(drop),
        Family::Vit(config) => Vit::new(init, config).map(drop),
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
            tied: &[("lm_head.weight", "model.embed_tokens.weight")],
            transposed: &[],
        },
        Family::Gpt2(_) => &gpt2::NAMES,
        Family::Bert(config) => bert::names(config.family),
        Family::ModernBert(_) => &modernbert::NAMES,
        Family::Vit(_) => &vit::NAMES,
    }
}
