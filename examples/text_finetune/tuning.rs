//! The start and the result of a training: of a whole model, or of an adapter beside it.

use std::path::PathBuf;

use candle_core::DType;
use cog_train::candle_core;
use cog_train::lora::{LoraConfig, Tuning};
use cog_train::models::Tokens;
use cog_train::prelude::*;
use cog_train::text::Example;

use super::base::Base;
use super::inputs::Inputs;

/// The tokens of each example that a merged model is compared on.
const COMPARED: usize = 64;
/// The result for llama.cpp, beside the one for transformers or PEFT.
const GGUF_ADAPTER: &str = "adapter.gguf";
const GGUF_MODEL: &str = "model.gguf";

/// Loads the base. It is trained in full, unless there is an adapter: that of an earlier training, or a new one.
pub fn start(base: &Base, lora: Option<LoraConfig>, inputs: &Inputs, job: &Job) -> Result<Tuning> {
    let pretrained = &base.lm.pretrained;
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
    if writes_gguf(base, inputs) {
        match &adapter {
            Some((adapter, _)) if !inputs.merge => adapter.check_gguf(pretrained),
            _ => pretrained.check_gguf(),
        }
        .context("there can be no file for llama.cpp, which `gguf=false` leaves out")?;
    }
    let tensors = base.tensors(job.device())?;
    let rng = job.rng("lora");
    let Some((adapter, values)) = adapter else {
        return Ok(Tuning::new(tensors, None, inputs.precision, rng)?);
    };
    let adapter = adapter.quantized(pretrained.quantized(job.device())?)?;
    Ok(match values {
        Some(values) => Tuning::resume(tensors, adapter, values, inputs.precision)?,
        None => Tuning::new(tensors, Some(adapter), inputs.precision, rng)?,
    })
}

/// Whether there is a file for llama.cpp too.
fn writes_gguf(base: &Base, inputs: &Inputs) -> bool {
    inputs.gguf.unwrap_or(base.is_gguf())
}

/// Writes what was trained into a folder, and returns it: an adapter, or a whole model, and the same for llama.cpp. An adapter is
/// merged into its base on request, if the two apart and merged give the same scores on some of the examples.
pub fn save(
    tuning: &Tuning,
    base: &Base,
    inputs: &Inputs,
    examples: &[Example],
    job: &mut Job,
) -> Result<PathBuf> {
    let folder = job.dir().join("weights");
    let pretrained = &base.lm.pretrained;
    let gguf = writes_gguf(base, inputs);
    let Some(adapter) = tuning.adapter().filter(|_| inputs.merge) else {
        tuning.save(pretrained, &folder)?;
        if gguf {
            let name = if tuning.adapter().is_some() { GGUF_ADAPTER } else { GGUF_MODEL };
            tuning.save_gguf(pretrained, folder.join(name))?;
        }
        return Ok(folder);
    };
    let shortened = |ids: &[u32]| ids[..ids.len().min(COMPARED)].to_vec();
    let rows = examples.iter().map(|example| shortened(example.inputs()));
    let pad = base.lm.tokenizer.pad_id();
    let tokens = Tokens::padded(&rows.collect::<Vec<_>>(), pad, job.device())?;
    // Merged weights of 16 bits are rounded.
    let tolerance = if inputs.precision.dtype() == DType::F32 { 1e-4 } else { 0.05 };
    let merged = adapter.merge(&tuning.params().masters(), tolerance, |init| {
        init.build(|init| base.model(init))?.logits(&tokens)
    })?;
    job.line(merged.difference());
    pretrained.save(&folder, merged.tensors().clone())?;
    if gguf {
        pretrained.save_gguf(folder.join(GGUF_MODEL), merged.tensors().clone())?;
    }
    Ok(folder)
}
