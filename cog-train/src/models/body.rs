//! A model without its head, of any family.

use candle_core::Error;
use cog_train_nn::Init;

use super::config::{Config, Family};
use super::decoder::Decoder;
use super::names::Names;

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
