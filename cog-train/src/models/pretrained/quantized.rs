//! Weights that are quantized in the files, or when they are loaded.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Shape};
use cog_train_nn::{BlockLayout, LayerKind, Layout, Quantized};

use super::{Pretrained, Source, names, needed};
use crate::error::Error;

impl Pretrained {
    /// Quantizes the weights of the body's linear layers when they are loaded, as transformers does with `load_in_4bit`: the
    /// embeddings, the output layer and other heads stay as they are. They are then in
    /// [`Pretrained::quantized`], and not in [`Pretrained::tensors`]. Weights that are quantized in the files stay as they are.
    ///
    /// ```no_run
    /// use cog_train::candle_core::Device;
    /// use cog_train::engine::Precision;
    /// use cog_train::lora::{LoraConfig, Modules};
    /// use cog_train::models::{CausalLm, Pretrained};
    /// use cog_train::nn::{BlockLayout, Init, Rng};
    ///
    /// let device = Device::Cpu;
    /// let base = Pretrained::open("smollm2-135m")?.quantize(BlockLayout::Nf4)?;
    /// let model = |init: &Init| CausalLm::new(init, base.config());
    /// let adapter = LoraConfig::new(16).targets(Modules::AllLinear).on(model)?;
    /// let adapter = adapter.quantized(base.quantized(&device)?)?;
    ///
    /// let tensors = base.tensors(&device)?;
    /// let trained = adapter.draw(&tensors, Rng::new(42, "lora"))?;
    /// let params = adapter.params(tensors, trained, Precision::Bf16)?;
    /// let model = adapter.init(params.tensors()).build(model)?;
    /// # Ok::<(), cog_train::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when a row of such a weight is no multiple of the layout's block; NF4 takes any.
    pub fn quantize(mut self, layout: BlockLayout) -> Result<Self, Error> {
        let names = names(&self.config);
        let Layout { layers, tensors } = needed(&self.config)?;
        let linear =
            layers.iter().filter(|(_, layer)| layer.kind == LayerKind::Linear { tied: false });
        let linear = linear.map(|(path, _)| format!("{path}.weight"));
        let chosen: BTreeSet<String> = linear
            .filter(|name| self.stored.contains_key(name) && !names.is_of_head(name))
            .filter(|name| !self.is_quantized_in_files(name))
            .collect();
        let fits = |name: &&String| {
            let inputs = tensors.get(*name).and_then(|shape| shape.dims().last()).copied();
            layout == BlockLayout::Nf4 || inputs.unwrap_or(0).is_multiple_of(layout.block_len())
        };
        if let Some(name) = chosen.iter().find(|name| !fits(name)) {
            let (shape, of) = (tensors.get(name).map(Shape::dims), layout.block_len());
            return Err(Error::model(
                &self.folder,
                format!(
                    "`{name}` {:?} cannot be quantized to {layout}: its rows are no multiples of {of}\n\
                     hint: NF4 takes rows of any length",
                    shape.unwrap_or_default()
                ),
            ));
        }
        self.chosen = Some((layout, chosen));
        Ok(self)
    }

    /// Loads the matrices that are quantized, in the files or by [`Pretrained::quantize`], by name; none for other models. Blocks of a
    /// GGUF file stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when an element is not finite or the device fails; those of [`Weights::get`](crate::Weights::get).
    pub fn quantized(&self, device: &Device) -> Result<BTreeMap<String, Quantized>, Error> {
        self.quantized_where(device, |_| true)
    }

    /// Loads those of some names.
    pub(crate) fn quantized_where(
        &self,
        device: &Device,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Quantized>, Error> {
        let mut matrices = self.quantized_in_files(device, &wanted)?;
        let Some((layout, names)) = &self.chosen else { return Ok(matrices) };
        // One by one: of the model in floats, one matrix is in memory.
        for name in names.iter().filter(|name| wanted(name)) {
            let tensor = self.load_one(name, &Device::Cpu)?;
            let matrix = Quantized::quantize(&tensor, *layout)?.to_device(device)?;
            matrices.insert(name.clone(), matrix);
        }
        Ok(matrices)
    }

    /// Loads those that are quantized in the files.
    pub(crate) fn quantized_in_files(
        &self,
        device: &Device,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Quantized>, Error> {
        match &self.source {
            Source::Folder(weights) => {
                let wanted = self.quantized.iter().filter(|(name, _)| wanted(name));
                wanted
                    .map(|(name, matrix)| Ok((name.clone(), matrix.load(weights, device)?)))
                    .collect()
            }
            Source::Gguf(model) => {
                let wanted = self.names().filter(|name| wanted(name));
                let read = |name: &str| {
                    let matrix = model.quantized(name, device).transpose()?;
                    Some(matrix.map(|matrix| (name.to_owned(), matrix)))
                };
                wanted.filter_map(read).collect()
            }
        }
    }

    /// Returns whether a tensor is loaded as a quantized matrix: in [`Pretrained::quantized`], and not in [`Pretrained::tensors`].
    #[must_use]
    pub fn is_quantized(&self, name: &str) -> bool {
        self.is_quantized_in_files(name)
            || self.chosen.as_ref().is_some_and(|(_, names)| names.contains(name))
    }

    fn is_quantized_in_files(&self, name: &str) -> bool {
        self.quantized.contains_key(name)
            || self.source.gguf().is_some_and(|model| model.is_quantized(name))
    }
}
