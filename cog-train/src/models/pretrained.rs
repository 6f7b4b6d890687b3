//! A pretrained model on disk.

mod quantized;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Shape, Tensor};
use cog_train_nn::{BlockLayout, Init, Layout};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::bitsandbytes::{self, Nf4};
use super::body::{self, names};
use super::causal_lm::CausalLm;
use super::config::Config;
use super::gguf::GgufModel;
use super::report::{Report, Stored};
use super::source::{Source, is_gguf};
use crate::error::{Error, printable_name};
use crate::weights::Weights;

/// The configuration's file.
pub(crate) const CONFIG: &str = "config.json";

/// A folder with a `config.json` and safetensors, as transformers writes it, or a GGUF file, opened and checked.
///
/// Tensors have the names that the models with a head have in transformers, also those of a file that holds the body alone:
/// `model.layers.0.input_layernorm.weight`.
#[derive(Debug, Clone)]
pub struct Pretrained {
    folder: PathBuf,
    config: Config,
    source: Source,
    stored: Stored,
    /// The weights that are quantized in the files.
    quantized: BTreeMap<String, Nf4>,
    /// The layout that weights are quantized to when they are loaded, and their names.
    chosen: Option<(BlockLayout, BTreeSet<String>)>,
    /// Keys of `config.json` that are saved with other values; null takes a key out.
    changes: Map<String, Value>,
}

impl Pretrained {
    /// Opens a folder or a GGUF file: reads its configuration, and compares the names, shapes and types of its tensors with what
    /// the model needs. Nothing is loaded.
    ///
    /// Of GGUF the architectures `llama` (also Mistral, `TinyLlama`, SmolLM2), `qwen2`, `qwen3`, `smollm3`, `gemma`, `gemma2`, `gemma3`, `phi3`
    /// and `gpt2` are supported, with tensors of the types F32, F16, BF16, `Q8_0`, `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q4_K`, `Q5_K` and `Q6_K`.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the folder has no configuration, the family or a key is not supported, or tensors are missing,
    /// unexpected or of another shape or type: all of them. Those of [`Weights::open`] and [`Gguf::open`](crate::gguf::Gguf::open).
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let (source, config) = if is_gguf(folder) {
            let (model, config) = GgufModel::open(folder)?;
            (Source::Gguf(Box::new(model)), config)
        } else {
            let file = folder.join(CONFIG);
            if !file.is_file() {
                return Err(Error::model(folder, no_config(folder)));
            }
            let config = Config::open(&file)?;
            let path =
                folder.to_str().ok_or_else(|| Error::model(folder, "its path is not UTF-8"))?;
            (Source::Folder(Weights::open(path)?), config)
        };
        let names = names(&config);
        let mut stored = Stored::new();
        for name in source.names().into_iter().filter(|name| !names.is_harmless(name)) {
            if let Some(other) = stored.insert(names.canonical(name), name.to_owned()) {
                let (name, other) = (printable_name(name), printable_name(&other));
                return Err(Error::model(
                    folder,
                    format!("`{other}` and `{name}` are the same tensor"),
                ));
            }
        }
        let quantized = match &source {
            Source::Folder(weights) => bitsandbytes::take(&mut stored, weights, folder)?,
            Source::Gguf(_) => BTreeMap::new(),
        };
        let mut needed = needed(&config)?.tensors;
        let of_head = |name: &str| names.is_of_head(name);
        Report::of_quantized(&mut needed, &quantized, of_head)
            .compare(&needed, &stored, &source, names, of_head)
            .check(folder)?;
        let (folder, changes) = (folder.to_owned(), Map::new());
        Ok(Self { folder, config, source, stored, quantized, chosen: None, changes })
    }

    /// The folder, or the GGUF file.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The names of its tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// Loads all tensors by name, of their stored types, in fresh storage. An output layer that is stored beside the embedding that
    /// it is tied to is left out, and so are [quantized](Pretrained::quantized) matrices.
    ///
    /// Those of a GGUF file are of one type: that of its matrices where these are floats, else 32 bits. Norms, which llama.cpp stores
    /// in 32 bits, are then rounded to 16, which is exact for those of a model that was made in 16.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when such a layer differs from the embedding; those of [`Weights::tensors`].
    pub fn tensors(&self, device: &Device) -> Result<BTreeMap<String, Tensor>, Error> {
        let names = self.names().filter(|name| !self.is_quantized(name));
        self.read(names.map(str::to_owned), device)
    }

    /// Loads the tensors that a model asks for, and no others: those of the body of another head, for example.
    ///
    /// # Errors
    ///
    /// The error of `model`; [`Error::Model`] when a tensor is not there; those of [`Pretrained::tensors`].
    pub fn tensors_of<M>(
        &self,
        device: &Device,
        model: impl FnOnce(&Init) -> Result<M, Error>,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let needed = Init::shapes_of(model)?;
        self.check(&needed)?;
        self.read(needed.into_keys().filter(|name| !self.is_quantized(name)), device)
    }

    /// Compares tensors with those of the files.
    pub(crate) fn check(&self, needed: &BTreeMap<String, Shape>) -> Result<(), Error> {
        let (names, mut needed) = (names(&self.config), needed.clone());
        Report::of_quantized(&mut needed, &self.quantized, |_| true)
            .compare(&needed, &self.stored, &self.source, names, |_| true)
            .check(&self.folder)
    }

    /// The files of its tensors.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Loads a tensor as the model has it.
    fn load_one(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let tensor = self.source.get(&self.stored[name], device)?;
        let of_files = names(&self.config);
        let transposed = self.source.is_transposed(of_files, name) && tensor.rank() == 2;
        Ok(if transposed { tensor.t()?.contiguous()? } else { tensor })
    }

    /// The keys of `config.json` that are saved with other values.
    pub(crate) fn changes(&self) -> &Map<String, Value> {
        &self.changes
    }

    /// The configuration, and the keys of its file that are saved with other values.
    pub(crate) fn config_mut(&mut self) -> (&mut Config, &mut Map<String, Value>) {
        (&mut self.config, &mut self.changes)
    }

    /// The shape of a tensor in the model.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let mut shape = self.source.describe(self.stored.get(name)?)?.shape;
        if self.source.is_transposed(names(&self.config), name) {
            shape.reverse();
        }
        Some(shape)
    }

    /// The name of a tensor in the files.
    pub(crate) fn stored_name(&self, name: &str) -> Option<&str> {
        self.stored.get(name).map(String::as_str)
    }

    /// Loads tensors by name.
    pub(crate) fn read(
        &self,
        names: impl Iterator<Item = String>,
        device: &Device,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let names: Vec<String> = names.collect();
        // Reading copies from the page cache: on several threads, as that is memory's speed and not a disk's.
        let load = |name: String| {
            let tensor = self.load_one(&name, device)?;
            Ok((name, tensor))
        };
        let mut tensors: BTreeMap<String, Tensor> =
            names.into_par_iter().map(load).collect::<Result<_, Error>>()?;
        if self.config.tied() {
            self.untie(&mut tensors)?;
        }
        Ok(tensors)
    }

    /// Takes out tensors of a head that are tied to others.
    fn untie(&self, tensors: &mut BTreeMap<String, Tensor>) -> Result<(), Error> {
        let mut tied = names(&self.config).tied.iter();
        tied.try_for_each(|(name, other)| self.untie_one(tensors, name, other))
    }

    fn untie_one(
        &self,
        tensors: &mut BTreeMap<String, Tensor>,
        name: &str,
        other: &str,
    ) -> Result<(), Error> {
        let Some(head) = tensors.remove(name) else { return Ok(()) };
        let Some(embedding) = tensors.get(other) else { return Ok(()) };
        let alike = embedding.shape() == head.shape()
            && embedding.dtype() == head.dtype()
            && embedding.ne(&head)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()? == 0;
        if alike {
            return Ok(());
        }
        Err(Error::model(
            &self.folder,
            format!(
                "`tie_word_embeddings` is true, and `{name}` differs from `{other}`\nhint: set it to false in \
                 `config.json` to train the two apart"
            ),
        ))
    }
}

/// The tensors and layers that a model cannot do without.
fn needed(config: &Config) -> Result<Layout, Error> {
    let language = |name: &str| name.ends_with("ForCausalLM") || name.ends_with("LMHeadModel");
    match config.architecture() {
        Some(name) if language(name) => Init::layout_of(|init| CausalLm::new(init, config)),
        _ => Ok(Init::layout_of(|init| body::build(init, config))?),
    }
}

/// The reason for which a folder without a configuration is refused.
fn no_config(folder: &Path) -> String {
    let has = |name: &str| folder.join(name).is_file();
    if !folder.exists() {
        return "there is no such folder".to_owned();
    }
    if has("adapter_config.json") {
        return "is an adapter, not a model\nhint: name the model that it was trained on"
            .to_owned();
    }
    // The result of a training may have its model beside other files.
    let inside = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(model) = inside.filter(|path| path.join(CONFIG).is_file()).min() {
        return format!(
            "has no `config.json`\nhint: `{}` has one",
            printable_name(&model.display().to_string())
        );
    }
    "has no `config.json`\nhint: a model's folder holds `config.json` and `model.safetensors`, as `save_pretrained` \
     writes them"
        .to_owned()
}
