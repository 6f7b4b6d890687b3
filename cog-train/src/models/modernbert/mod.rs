//! `ModernBERT` (Warner et al., "Smarter, Better, Faster, Longer", 2024): rotary positions, gated MLPs, and attention within a
//! window in most layers.

mod config;
mod heads;
mod model;

use super::names::Names;

pub(crate) use config::ModernBertConfig;
pub(crate) use heads::{masked, sequence, token};
pub(crate) use model::ModernBert;

/// The value of `model_type`.
pub(crate) const FAMILY: &str = "modernbert";

/// The names of tensors in files.
pub(crate) const NAMES: Names = Names {
    prefix: "model.",
    heads: &["classifier.", "decoder.", "head."],
    harmless: &["inv_freq"],
    renamed: &[],
    tied: &[("decoder.weight", "model.embeddings.tok_embeddings.weight")],
    transposed: &[],
};
