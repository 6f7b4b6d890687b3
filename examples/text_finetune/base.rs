//! The model that a training or a prediction starts from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cog_train::hub::resolve;
use cog_train::lora::{Adapter, LoraConfig};
use cog_train::models::CausalLm;
use cog_train::nn::{BlockLayout, Init};
use cog_train::prelude::*;
use cog_train::progress::Report;
use cog_train::text::LanguageModel;
use cog_train::{CancelToken, Error, candle_core};
use tempfile::TempDir;

/// The files of the model that is built into the program, so that it runs from any folder.
const BUILT_IN: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("base/config.json")),
    ("model.safetensors", include_bytes!("base/model.safetensors")),
    ("tokenizer.json", include_bytes!("base/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("base/tokenizer_config.json")),
];

pub type Tensors = BTreeMap<String, Tensor>;

/// A model on disk, and perhaps an adapter of it: opened and checked, and nothing loaded.
pub struct Base {
    /// As it was named, for an adapter's settings; `None` for the built-in model.
    pub name: Option<String>,
    pub lm: LanguageModel,
    /// An adapter that was trained before, with its values.
    pub adapter: Option<(Adapter, Tensors)>,
    /// The folder of the built-in model.
    _folder: Option<TempDir>,
}

impl Base {
    /// Finds the model that is named or that `weights` holds, whole or as an adapter of a base; without both, the built-in one.
    pub fn find(
        name: Option<&str>,
        weights: Option<&Weights>,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Self> {
        let Some(folder) = weights.map(folder_of) else {
            return Self::open(name, None, cancel, report);
        };
        if !folder.join("adapter_config.json").is_file() {
            if let Some(name) = name {
                bail!(
                    "`base_model` is `{name}`, and `COG_WEIGHTS` names a whole model, `{}`\nhint: leave one of them out",
                    folder.display()
                );
            }
            return Self::open(Some(&folder.to_string_lossy()), None, cancel, report);
        }
        let recorded = LoraConfig::open(&folder)?.base_model_name();
        let name = name.map(str::to_owned).or(recorded);
        let context = format!(
            "the adapter `{}` has the base `{}`",
            folder.display(),
            name.as_deref().unwrap_or("that is built in")
        );
        Self::open(name.as_deref(), Some(folder), cancel, report).context(context)
    }

    fn open(
        name: Option<&str>,
        adapter: Option<PathBuf>,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Self> {
        let (folder, built_in) = if let Some(name) = name {
            (resolve(name, cancel, report)?, None)
        } else {
            let dir = built_in()?;
            (dir.path().to_owned(), Some(dir))
        };
        let lm = LanguageModel::open(&folder)?;
        let adapter = match adapter {
            Some(folder) => {
                let config = LoraConfig::open(&folder)?;
                let config = match name {
                    Some(name) => config.base_model(name),
                    None => config,
                };
                let adapter = config.on(|init| lm.build(init))?;
                let values = adapter.load(&folder)?;
                Some((adapter, values))
            }
            None => None,
        };
        let name = name.map(str::to_owned);
        Ok(Self { name, lm, adapter, _folder: built_in })
    }

    /// Keeps the weights in blocks of few bits, if that is wanted.
    pub fn quantize(mut self, layout: Option<BlockLayout>) -> Result<Self> {
        let Some(layout) = layout else { return Ok(self) };
        let count = |lm: &LanguageModel| {
            lm.pretrained.names().filter(|name| lm.pretrained.is_quantized(name)).count()
        };
        let before = count(&self.lm);
        self.lm = self.lm.quantize(layout)?;
        ensure!(
            count(&self.lm) > before,
            "{layout} is wanted, and the weights of `{}` are quantized already\nhint: leave out `quantize`",
            self.lm.pretrained.folder().display()
        );
        Ok(self)
    }

    /// A weight that is in blocks of few bits, of the file or of `quantize`.
    pub fn quantized_weight(&self) -> Option<&str> {
        let pretrained = &self.lm.pretrained;
        pretrained.names().find(|name| pretrained.is_quantized(name))
    }

    /// Whether it is a GGUF file.
    pub fn is_gguf(&self) -> bool {
        self.lm.pretrained.folder().is_file()
    }

    /// Builds the model from its tensors.
    pub fn model(&self, init: &Init) -> Result<CausalLm, Error> {
        self.lm.build(init)
    }

    /// Loads the tensors that are not in blocks.
    pub fn tensors(&self, device: &Device) -> Result<Tensors, Error> {
        self.lm.pretrained.tensors_of(device, |init| self.model(init))
    }

    /// The most tokens that the model sees.
    pub fn context(&self) -> usize {
        self.lm.pretrained.config().max_positions()
    }

    /// The most tokens that may come after a prompt, of those that are wanted.
    pub fn room(&self, prompt: &[u32], wanted: usize) -> Result<usize> {
        let (length, context) = (prompt.len(), self.context());
        ensure!(
            length < context,
            "the prompt has {length} tokens, and the model sees at most {context}\nhint: shorten it by {}",
            length - context + 1
        );
        Ok(wanted.min(context - length))
    }

    /// The tokens that end a text.
    pub fn end_tokens(&self) -> Vec<u32> {
        let config = self.lm.pretrained.config();
        [&self.lm.tokenizer.special().stop, config.end_tokens()].concat()
    }
}

/// The folder of weights that may be named by a file in it.
fn folder_of(weights: &Weights) -> PathBuf {
    let path = weights.path();
    let folder = path.parent().filter(|_| path.is_file());
    folder.filter(|folder| *folder != Path::new("")).unwrap_or(path).to_owned()
}

/// Writes the built-in model into a temporary folder.
fn built_in() -> Result<TempDir> {
    let dir = tempfile::tempdir().context("cannot create a temporary folder")?;
    for (name, content) in BUILT_IN {
        let file = dir.path().join(name);
        std::fs::write(&file, content)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(dir)
}
