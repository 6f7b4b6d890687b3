//! `merge`: an adapter of PEFT's format merged into its base.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use cog_train_nn::Init;
use cog_train_nn::rng::Rng;

use super::args::MergeArgs;
use super::convert::{write, written};
use super::staging::refuse_existing;
use crate::error::Error;
use crate::hub;
use crate::lora::LoraConfig;
use crate::models::{CausalLm, Config, Head, Pretrained, SequenceClassifier, Tokens};
use crate::progress::{CancelToken, Report};
use crate::run::shown;
use crate::weights::Weights;

const SETTINGS: &str = "adapter_config.json";
/// The most by which scores of the merged model may differ, as a share of the largest score. The sums have 32 bits.
const TOLERANCE: f64 = 1e-3;
/// The tokens on which the two are compared.
const COMPARED: u32 = 32;

/// Merges an adapter; the text names what was written and how exact it is.
pub(super) fn merge(args: &MergeArgs, report: &mut dyn Report) -> Result<String, Error> {
    refuse_existing(&args.output)?;
    let folder = &adapter_folder(&args.adapter)?;
    let lora = LoraConfig::open(folder)?;
    let base = args.base.clone().or_else(|| lora.base_model_name()).ok_or_else(|| {
        let reason =
            format!("`{}` does not name its base\nhint: name it: `--base MODEL`", shown(folder));
        Error::Arguments { reason }
    })?;
    let base = hub::resolve(&base, &CancelToken::new(), report)?;
    let base = Pretrained::open(&base)?;
    let difference = match task(folder)?.as_deref() {
        None | Some("CAUSAL_LM") => {
            let model = |init: &Init| CausalLm::new(init, base.config());
            merge_into(&base, &lora, folder, args, &model, CausalLm::logits)?
        }
        Some("SEQ_CLS") => {
            // Beside the adapter of a classifier stand its labels.
            let labels = Config::open(folder.join("config.json"))?.labels().clone();
            let base = base.with_head(Head::SequenceClassification)?.with_labels(labels);
            let model = |init: &Init| SequenceClassifier::new(init, base.config());
            merge_into(&base, &lora, folder, args, &model, SequenceClassifier::logits)?
        }
        Some(other) => {
            let reason = format!(
                "`{}` is an adapter for the task `{other}`, and `merge` knows `CAUSAL_LM` and `SEQ_CLS`",
                shown(folder)
            );
            return Err(Error::Arguments { reason });
        }
    };
    Ok(format!("merged: {}\n{difference}\n", written(&args.output)))
}

/// Returns the given folder, or the one that the `output.json` of a training's result names there.
fn adapter_folder(given: &Path) -> Result<PathBuf, Error> {
    let is_adapter = |folder: &Path| folder.join(SETTINGS).is_file();
    if is_adapter(given) {
        return Ok(given.to_owned());
    }
    let named = Weights::open(given.display().to_string()).ok();
    let named = named.map(|weights| weights.path().to_owned()).filter(|it| is_adapter(it));
    named.ok_or_else(|| {
        let reason = format!(
            "`{}` is no adapter: it has no `{SETTINGS}`\nhint: name the folder that a training with LoRA wrote",
            shown(given)
        );
        Error::Arguments { reason }
    })
}

fn task(folder: &Path) -> Result<Option<String>, Error> {
    let path = folder.join(SETTINGS);
    let text = std::fs::read(&path).map_err(Error::file("read", &path))?;
    let settings: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    Ok(settings["task_type"].as_str().map(str::to_owned))
}

/// Merges in 32 bits and writes the dtype of the base.
fn merge_into<M>(
    base: &Pretrained,
    lora: &LoraConfig,
    folder: &Path,
    args: &MergeArgs,
    model: &dyn Fn(&Init) -> Result<M, Error>,
    logits: impl Fn(&M, &Tokens) -> Result<Tensor, Error>,
) -> Result<String, Error> {
    let device = Device::Cpu;
    let loaded = base.load(&device, Rng::new(0, "head"), model)?;
    let quantized = loaded.quantized().clone();
    let mut tensors = loaded.into_tensors();
    tensors.retain(|name, _| !quantized.contains_key(name));
    let dtype = base.config().dtype().or(tensors.values().next().map(Tensor::dtype));
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_dtype(DType::F32)?;
    }
    let adapter = lora.on(model)?.quantized(quantized)?;
    let values = adapter.load(folder)?;
    let tensors = adapter.tensors(tensors, values)?;
    let most = u32::try_from(base.config().vocabulary()).unwrap_or(u32::MAX).max(1);
    let length = COMPARED.min(u32::try_from(base.config().max_positions()).unwrap_or(COMPARED));
    // Any tokens do. A prime spreads them over the vocabulary.
    let row: Vec<u32> = (0..length).map(|at| at.wrapping_mul(7919) % most).collect();
    let tokens = Tokens::padded(&[row], 0, &device)?;
    let merged = adapter.merge(&tensors, TOLERANCE, |init| logits(&init.build(model)?, &tokens))?;
    let mut tensors = merged.tensors().clone();
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_dtype(dtype.unwrap_or(DType::F32))?;
    }
    write(base, tensors, &args.output)?;
    Ok(merged.difference().to_string())
}
