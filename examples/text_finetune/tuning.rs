//! A model in training: all of it, or a low-rank adapter beside it.

use std::path::PathBuf;

use candle_core::DType;
use cog_train::candle_core;
use cog_train::engine::Params;
use cog_train::lora::{Adapter, LoraConfig};
use cog_train::models::{CausalLm, Tokens};
use cog_train::nn::Init;
use cog_train::prelude::*;
use cog_train::text::Example;

use crate::base::{Base, Tensors};
use crate::inputs::Inputs;

/// The tokens of each example that a merged model is compared on.
const COMPARED: usize = 64;
/// The result for llama.cpp, beside the one for transformers or PEFT.
const GGUF_ADAPTER: &str = "adapter.gguf";
const GGUF_MODEL: &str = "model.gguf";

/// The parameters, the model that computes with them, and the adapter that they belong to.
pub struct Tuning {
    adapter: Option<Adapter>,
    pub params: Params,
    pub model: CausalLm,
}

impl Tuning {
    /// Loads the base. It is trained in full, unless there is an adapter: that of an earlier training, or a new one.
    pub fn new(base: &Base, lora: Option<LoraConfig>, inputs: &Inputs, job: &Job) -> Result<Self> {
        let precision = inputs.precision;
        let adapter = match (&base.adapter, lora) {
            (None, None) if inputs.merge => bail!(
                "`merge` is true, and no adapter is trained\nhint: give `lora_rank`, or leave out `merge`"
            ),
            (None, None) => None,
            (None, Some(config)) => Some((config.on(|init| base.model(init))?, None)),
            (Some((earlier, values)), None) => Some((earlier.clone(), Some(values.clone()))),
            (Some(_), Some(_)) => bail!(
                "`lora_rank` is given, and `COG_WEIGHTS` names an adapter, which keeps its own settings\n\
                 hint: leave out `lora_rank` to train it on, or `COG_WEIGHTS` to begin a new one"
            ),
        };
        if let (None, Some(weight)) = (&adapter, base.quantized_weight()) {
            bail!(
                "the base is quantized (`{weight}`), and what is quantized is not trained in full\n\
                 hint: give `lora_rank`, to train an adapter beside it"
            );
        }
        if inputs.gguf.unwrap_or(base.is_gguf()) {
            match &adapter {
                Some((adapter, _)) if !inputs.merge => adapter.check_gguf(&base.lm.pretrained),
                _ => base.lm.pretrained.check_gguf(),
            }
            .context("there can be no file for llama.cpp, which `gguf=false` leaves out")?;
        }
        let tensors = base.tensors(job.device())?;
        let Some((adapter, values)) = adapter else {
            let params = Params::new(tensors)?.precision(precision)?;
            let model = Init::from_tensors(params.tensors()).build(|init| base.model(init))?;
            let model = model.checkpoint_layers(inputs.checkpoint_layers);
            return Ok(Self { adapter: None, params, model });
        };
        let adapter = adapter.quantized(base.lm.pretrained.quantized(job.device())?)?;
        let values = match values {
            Some(values) => values,
            None => adapter.draw(&tensors, job.rng("lora"))?,
        };
        let params = adapter.params(tensors, values, precision)?;
        let model = adapter.init(params.tensors()).build(|init| base.model(init))?;
        let model = model.checkpoint_layers(inputs.checkpoint_layers);
        Ok(Self { adapter: Some(adapter), params, model })
    }

    /// Whether an adapter is trained, and not the whole model.
    pub fn is_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// Writes what was trained into a folder, and returns it: an adapter, or a whole model, and the same for llama.cpp. An adapter is
    /// merged into its base on request, if the two apart and merged give the same scores on some of the examples.
    pub fn save(
        &self,
        base: &Base,
        inputs: &Inputs,
        examples: &[Example],
        job: &mut Job,
    ) -> Result<PathBuf> {
        let folder = job.dir().join("weights");
        let precision = self.params.computes_in().dtype();
        let pretrained = &base.lm.pretrained;
        let gguf = inputs.gguf.unwrap_or(base.is_gguf());
        let write = |tensors: Tensors| -> Result<()> {
            pretrained.save(&folder, tensors.clone())?;
            if gguf {
                pretrained.save_gguf(folder.join(GGUF_MODEL), tensors)?;
            }
            Ok(())
        };
        let Some(adapter) = &self.adapter else {
            let stored = |(name, tensor): (String, candle_core::Tensor)| {
                Ok((name, tensor.to_dtype(precision)?))
            };
            let tensors = self.params.masters().into_iter().map(stored);
            write(tensors.collect::<Result<_>>()?)?;
            return Ok(folder);
        };
        if !inputs.merge {
            adapter.save(&folder, &self.params.masters())?;
            base.lm.tokenizer.save(&folder)?;
            if gguf {
                let file = folder.join(GGUF_ADAPTER);
                adapter.save_gguf(file, pretrained, &self.params.masters())?;
            }
            return Ok(folder);
        }
        let shortened = |ids: &[u32]| ids[..ids.len().min(COMPARED)].to_vec();
        let rows = examples.iter().map(|example| shortened(example.inputs()));
        let pad = base.lm.tokenizer.pad_id();
        let tokens = Tokens::padded(&rows.collect::<Vec<_>>(), pad, job.device())?;
        // Merged weights of 16 bits are rounded.
        let tolerance = if precision == DType::F32 { 1e-4 } else { 0.05 };
        let merged = adapter.merge(&self.params.masters(), tolerance, |init| {
            init.build(|init| base.model(init))?.logits(&tokens)
        })?;
        job.line(merged.difference());
        write(merged.tensors().clone())?;
        Ok(folder)
    }
}
