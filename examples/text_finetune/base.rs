//! The base model that is built into the binary, so that it runs from any folder.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use cog_train::prelude::*;
use cog_train::{candle_core, serde_json};

use crate::model::{Config, Llama};
use crate::text::Text;

const CONFIG: &[u8] = include_bytes!("base/config.json");
const TOKENIZER: &[u8] = include_bytes!("base/tokenizer.json");
const MODEL: &[u8] = include_bytes!("base/model.safetensors");

/// A tokenizer, and the tensors that a model starts from.
pub struct Base {
    pub config: Config,
    pub text: Text,
    tensors: BTreeMap<String, Tensor>,
}

impl Base {
    /// The built-in tensors, or `weights` of the same model in their place.
    pub fn load(device: &Device, weights: Option<&Weights>) -> Result<Self> {
        let config: Config = serde_json::from_slice(CONFIG)?;
        let stored = match weights {
            Some(weights) => weights.tensors(device)?,
            None => candle_core::safetensors::load_buffer(MODEL, device)?.into_iter().collect(),
        };
        // Half-precision files are computed with in 32 bits.
        let tensors = stored
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?)))
            .collect::<Result<_>>()?;
        config.check(&tensors)?;
        Ok(Self { config, text: Text::new(TOKENIZER)?, tensors })
    }

    /// A model to talk with.
    pub fn model(&self) -> Result<Llama> {
        Llama::new(&self.config, &self.tensors)
    }

    /// The base's values by name; a training copies them, so that the base stays as it is.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}
