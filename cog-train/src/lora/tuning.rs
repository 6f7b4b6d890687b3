//! A pretrained model in training: all of it, or a low-rank adapter beside it.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use cog_train_nn::Init;
use cog_train_nn::rng::Rng;

use super::adapter::Adapter;
use super::merge::Difference;
use crate::error::Error;
use crate::models::Pretrained;
use crate::params::{Params, Precision};

/// A pretrained model in training: all of it, or a low-rank adapter beside it. What differs between the two is in here: the
/// parameters, the source that the model is built from, and what is saved.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::engine::Precision;
/// use cog_train::lora::{LoraConfig, Modules, Tuning};
/// use cog_train::models::{CausalLm, Pretrained};
/// use cog_train::nn::{Init, Rng};
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/llama");
/// # let dir = tempfile::tempdir()?;
/// # let output = dir.path().join("output");
/// let base = Pretrained::open(folder)?;
/// let model = |init: &Init| CausalLm::new(init, base.config());
///
/// let lora = Some(LoraConfig::new(8).targets(Modules::AllLinear)); // None trains the whole model
/// let adapter = lora.map(|lora| lora.on(model)).transpose()?;
/// let tuning = Tuning::new(base.tensors(&Device::Cpu)?, adapter, Precision::F32, Rng::new(42, "lora"))?;
/// let in_training = tuning.build(model)?; // `fit` with `tuning.params()`
/// # drop(in_training);
/// tuning.save(&base, &output)?; // what PEFT or transformers opens
/// assert!(output.join("adapter_model.safetensors").is_file());
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Tuning {
    params: Params,
    adapter: Option<Adapter>,
}

impl Tuning {
    /// Makes the parameters: all `tensors`, or those of a new adapter beside them, whose values are drawn.
    ///
    /// # Errors
    ///
    /// Those of [`Params::new`], [`Adapter::draw`] and [`Adapter::params`].
    pub fn new(
        tensors: BTreeMap<String, Tensor>,
        adapter: Option<Adapter>,
        precision: Precision,
        rng: Rng,
    ) -> Result<Self, Error> {
        let params = match &adapter {
            None => Params::new(tensors)?.precision(precision)?,
            Some(adapter) => {
                let drawn = adapter.draw(&tensors, rng)?;
                adapter.params(tensors, drawn, precision)?
            }
        };
        Ok(Self { params, adapter })
    }

    /// Makes the parameters of an adapter that was trained before, with its `values` ([`Adapter::load`]), to train it on.
    ///
    /// ```
    /// use cog_train::candle_core::Device;
    /// use cog_train::engine::Precision;
    /// use cog_train::lora::{LoraConfig, Modules, Tuning};
    /// use cog_train::models::{CausalLm, Pretrained};
    /// use cog_train::nn::{Init, Rng};
    ///
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/llama");
    /// # let dir = tempfile::tempdir()?;
    /// # let earlier = dir.path().join("earlier");
    /// let base = Pretrained::open(folder)?;
    /// let model = |init: &Init| CausalLm::new(init, base.config());
    /// # let adapter = LoraConfig::new(8).targets(Modules::AllLinear).on(model)?;
    /// # Tuning::new(base.tensors(&Device::Cpu)?, Some(adapter), Precision::F32, Rng::new(42, "lora"))?.save(&base, &earlier)?;
    ///
    /// let adapter = LoraConfig::open(&earlier)?.on(model)?; // it keeps its rank, its scale and its targets
    /// let values = adapter.load(&earlier)?;
    /// let tuning = Tuning::resume(base.tensors(&Device::Cpu)?, adapter, values, Precision::F32)?;
    /// assert!(tuning.adapter().unwrap().layers().all(|(_, branch)| branch.rank() == 8));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Adapter::params`].
    pub fn resume(
        tensors: BTreeMap<String, Tensor>,
        adapter: Adapter,
        values: BTreeMap<String, Tensor>,
        precision: Precision,
    ) -> Result<Self, Error> {
        let params = adapter.params(tensors, values, precision)?;
        Ok(Self { params, adapter: Some(adapter) })
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The adapter, if there is one.
    #[must_use]
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Builds the model that is trained.
    ///
    /// # Errors
    ///
    /// The error of `model`.
    pub fn build<M>(&self, model: impl FnOnce(&Init) -> Result<M, Error>) -> Result<M, Error> {
        let init = match &self.adapter {
            None => Init::from_tensors(self.params.tensors()),
            Some(adapter) => adapter.init(self.params.tensors()),
        };
        init.build(model)
    }

    /// Writes what was trained into a folder: the whole model, in the type that it computes in, with all files of its base
    /// ([`Pretrained::save`]); or the adapter in PEFT's format, with the tokenizer, and the configuration if its labels are new.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::save`] or [`Adapter::save`].
    pub fn save(&self, base: &Pretrained, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        if let Some(adapter) = &self.adapter {
            adapter.save(folder, &self.params.masters())?;
            return base.save_beside_adapter(folder);
        }
        base.save(folder, self.stored()?)
    }

    /// Writes what was trained as a GGUF file, for llama.cpp: the whole model, or the adapter.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::save_gguf`] or [`Adapter::save_gguf`].
    pub fn save_gguf(&self, base: &Pretrained, file: impl AsRef<Path>) -> Result<(), Error> {
        match &self.adapter {
            Some(adapter) => adapter.save_gguf(file, base, &self.params.masters()),
            None => base.save_gguf(file, self.stored()?),
        }
    }

    /// The tensors of the whole model, in the type that it computes in.
    fn stored(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let dtype = self.params.computes_in().dtype();
        let stored = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(dtype)?));
        self.params.masters().into_iter().map(stored).collect()
    }

    /// Writes the whole model into a folder, with an adapter merged into it, whose difference is returned: see [`Adapter::merge`] for
    /// `tolerance` and `scores`.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::save`] and [`Adapter::merge`].
    pub fn save_merged(
        &self,
        base: &Pretrained,
        folder: impl AsRef<Path>,
        tolerance: f64,
        scores: impl Fn(&Init) -> Result<Tensor, Error>,
    ) -> Result<Option<Difference>, Error> {
        let Some(adapter) = &self.adapter else { return self.save(base, folder).map(|()| None) };
        let merged = adapter.merge(&self.params.masters(), tolerance, scores)?;
        base.save(folder, merged.tensors().clone())?;
        Ok(Some(merged.difference()))
    }
}
