//! The base model that is built into the binary, so that it runs from any folder.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use cog_train::nn::Init;
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
    /// Loads the built-in tensors, or `weights` of the same model instead of them.
    pub fn load(device: &Device, weights: Option<&Weights>) -> Result<Self> {
        let config: Config = serde_json::from_slice(CONFIG)?;
        let stored = match weights {
            Some(weights) => weights.tensors(device)?,
            None => candle_core::safetensors::load_buffer(MODEL, device)?.into_iter().collect(),
        };
        // Half-precision files are computed with in 32 bits.
        let wide = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F32)?));
        let tensors = stored.into_iter().map(wide).collect::<Result<_>>()?;
        let base = Self { config, text: Text::new(TOKENIZER)?, tensors };
        base.model()?; // refuses tensors of another model
        Ok(base)
    }

    /// A model to talk with.
    pub fn model(&self) -> Result<Llama> {
        self.model_of(self.tensors.clone())
    }

    /// A model of these tensors.
    pub fn model_of(&self, tensors: BTreeMap<String, Tensor>) -> Result<Llama> {
        Ok(Init::from_tensors(tensors).build(|init| Llama::new(init, &self.config))?)
    }

    /// The base's values by name; a training copies them, so that the base stays as it is.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }
}
