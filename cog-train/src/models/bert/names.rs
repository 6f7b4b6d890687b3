//! The names of tensors in files.

use super::config::Family;
use crate::models::names::Names;

/// Tensors that a model computes itself.
const HARMLESS: &[&str] = &["embeddings.position_ids", "embeddings.token_type_ids"];

/// The names of files that were converted from TensorFlow.
const RENAMED: &[(&str, &str)] =
    &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];

const BERT: Names = Names {
    prefix: "bert.",
    heads: &["bert.pooler.", "classifier.", "cls.", "qa_outputs."],
    harmless: HARMLESS,
    renamed: RENAMED,
    tied: &[
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ],
    transposed: &[],
};

const ROBERTA: Names = Names {
    prefix: "roberta.",
    heads: &["roberta.pooler.", "classifier.", "lm_head.", "qa_outputs."],
    harmless: HARMLESS,
    renamed: RENAMED,
    tied: &[
        ("lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"),
        ("lm_head.decoder.bias", "lm_head.bias"),
    ],
    transposed: &[],
};

const DISTILBERT: Names = Names {
    prefix: "distilbert.",
    heads: &["classifier.", "pre_classifier.", "qa_outputs.", "vocab_"],
    harmless: HARMLESS,
    renamed: RENAMED,
    tied: &[("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight")],
    transposed: &[],
};

/// The names of a family's tensors.
pub(crate) fn names(family: Family) -> &'static Names {
    match family {
        Family::Bert => &BERT,
        Family::Roberta => &ROBERTA,
        Family::DistilBert => &DISTILBERT,
    }
}
