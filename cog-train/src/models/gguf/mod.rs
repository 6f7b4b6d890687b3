//! Language models in GGUF files: their configuration from the metadata, their tensors by the names of transformers, and what is
//! written for llama.cpp.

mod architecture;
mod config;
mod conversion;
mod folder;
mod metadata;
mod save;
mod tensors;

pub(crate) use conversion::{Conversion, reordered};
pub(crate) use save::bytes;
pub(crate) use tensors::GgufModel;
