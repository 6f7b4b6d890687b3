//! GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019).

mod config;
mod model;

use super::names::Names;

pub(crate) use config::Gpt2Config;
pub(crate) use model::Gpt2;

/// The value of `model_type`.
pub(crate) const FAMILY: &str = "gpt2";

/// The names of tensors in files.
pub(crate) const NAMES: Names = Names {
    prefix: "transformer.",
    heads: &["classifier.", "lm_head.", "multiple_choice_head.", "qa_outputs.", "score."],
    // Masks of old files.
    harmless: &[".attn.bias", ".attn.masked_bias"],
    renamed: &[],
    tied: &[("lm_head.weight", "transformer.wte.weight")],
    // transformers' `Conv1D`.
    transposed: &[".c_attn.weight", ".c_fc.weight", ".c_proj.weight"],
};
