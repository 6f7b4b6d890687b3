//! The heads on top of the encoder.

use candle_core::Error;
use cog_train_nn::{Dropout, Init, Initializer, Linear};

use super::config::ModernBertConfig;
use crate::models::heads::{Dense, MaskedHead, SequenceHead, TokenHead};
use crate::models::layers::{layer_norm, linear_of};

/// Builds the head of a sequence classifier.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn sequence(
    init: &Init,
    config: &ModernBertConfig,
    labels: usize,
) -> Result<SequenceHead, Error> {
    let (dense, output) = (dense(init, config)?, output(init, config, labels)?);
    Ok(SequenceHead {
        pooling: config.classifier_pooling,
        first_dropout: None,
        dense,
        dropout: dropout(init, config)?,
        output,
    })
}

/// Builds the head of a token classifier.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn token(
    init: &Init,
    config: &ModernBertConfig,
    labels: usize,
) -> Result<TokenHead, Error> {
    let (dense, output) = (dense(init, config)?, output(init, config, labels)?);
    Ok(TokenHead { dense: Some(dense), dropout: dropout(init, config)?, output })
}

/// Builds the head of a masked language model.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn masked(init: &Init, config: &ModernBertConfig) -> Result<MaskedHead, Error> {
    let bias = || init.tensor("decoder.bias", config.vocab, Initializer::ZEROS);
    let bias = config.decoder_bias.then(bias).transpose()?;
    Ok(MaskedHead { dense: dense(init, config)?, bias })
}

fn dense(init: &Init, config: &ModernBertConfig) -> Result<Dense, Error> {
    let ModernBertConfig { hidden, epsilon, norm_bias, classifier_bias, .. } = *config;
    let init = init.at("head");
    let initializer = config.output_init();
    Ok(Dense {
        linear: linear_of(&init.at("dense"), hidden, hidden, initializer, classifier_bias)?,
        activation: config.classifier_activation,
        norm: Some(layer_norm(&init.at("norm"), hidden, epsilon, norm_bias)?),
    })
}

fn dropout(init: &Init, config: &ModernBertConfig) -> Result<Dropout, Error> {
    Dropout::new(&init.at("classifier"), config.classifier_dropout)
}

fn output(init: &Init, config: &ModernBertConfig, labels: usize) -> Result<Linear, Error> {
    linear_of(&init.at("classifier"), config.hidden, labels, config.classifier_init(), true)
}
