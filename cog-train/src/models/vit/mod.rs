//! The Vision Transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020).

mod config;
mod model;

use super::names::Names;

pub(crate) use config::VitConfig;
pub(crate) use model::Vit;

/// The value of `model_type`.
pub(crate) const FAMILY: &str = "vit";

/// The names of tensors in files, which are older than those of transformers' present classes.
pub(crate) const NAMES: Names = Names {
    prefix: "vit.",
    heads: &["classifier.", "decoder.", "vit.pooler.", "vit.embeddings.mask_token"],
    harmless: &[],
    renamed: &[],
    tied: &[],
    transposed: &[],
};
