//! Decoders of the Llama family: Llama, Mistral, Qwen2, Qwen3, SmolLM3, Phi-3 and Gemma.

mod config;
mod layer;
mod layers;
mod model;

pub(crate) use config::{DecoderConfig, FAMILIES};
pub(crate) use layers::LayerConfig;
pub(crate) use model::Decoder;
