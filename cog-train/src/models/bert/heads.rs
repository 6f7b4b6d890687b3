//! The heads on top of the encoder, by the names of each family.

use candle_core::Error;
use cog_train_nn::{Dropout, Init, Initializer, LayerNorm};

use super::config::{BertConfig, Family};
use crate::models::heads::{Dense, MaskedHead, RowPooling, SequenceHead, TokenHead};
use crate::models::layers::{Activation, linear};

/// Builds the head of a sequence classifier.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn sequence(
    init: &Init,
    config: &BertConfig,
    labels: usize,
) -> Result<SequenceHead, Error> {
    let BertConfig { hidden, std, .. } = *config;
    let (dense, activation, output) = match config.family {
        Family::Bert => ("bert.pooler.dense", Activation::Tanh, "classifier"),
        Family::Roberta => ("classifier.dense", Activation::Tanh, "classifier.out_proj"),
        Family::DistilBert => ("pre_classifier", Activation::Relu, "classifier"),
    };
    // RoBERTa drops before both layers.
    let first = matches!(config.family, Family::Roberta);
    let first =
        first.then(|| Dropout::new(&init.at(dense), config.sequence_dropout)).transpose()?;
    Ok(SequenceHead {
        pooling: RowPooling::First,
        first_dropout: first,
        dropout: Dropout::new(&init.at(output), config.sequence_dropout)?,
        dense: Dense {
            linear: linear(&init.at(dense), hidden, hidden, std)?,
            activation,
            norm: None,
        },
        output: linear(&init.at(output), hidden, labels, std)?,
    })
}

/// Builds the head of a token classifier.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn token(init: &Init, config: &BertConfig, labels: usize) -> Result<TokenHead, Error> {
    let init = init.at("classifier");
    let output = linear(&init, config.hidden, labels, config.std)?;
    Ok(TokenHead { dense: None, dropout: Dropout::new(&init, config.token_dropout)?, output })
}

/// Builds the head of a masked language model.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn masked(init: &Init, config: &BertConfig) -> Result<MaskedHead, Error> {
    let BertConfig { hidden, std, epsilon, vocab, .. } = *config;
    let (dense, norm, bias) = match config.family {
        Family::Bert => (
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.bias",
        ),
        Family::Roberta => ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
        Family::DistilBert => ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    };
    let activation = match config.family {
        Family::Roberta => Activation::GeluErf,
        Family::Bert | Family::DistilBert => config.activation,
    };
    Ok(MaskedHead {
        dense: Dense {
            linear: linear(&init.at(dense), hidden, hidden, std)?,
            activation,
            norm: Some(LayerNorm::new(&init.at(norm), hidden, epsilon)?),
        },
        bias: Some(init.tensor(bias, vocab, Initializer::ZEROS)?),
    })
}
