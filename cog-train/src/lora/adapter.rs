//! An adapter of one model.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Shape, Tensor};
use cog_train_nn::{Init, Layer, LayerKind, Layout, LowRank, Quantized, Rng};

use super::config::{LoraConfig, invalid};
use super::select::Selected;
use crate::error::Error;
use crate::optim::{Group, Optimizer};
use crate::params::{Params, Precision};

/// An adapter whose targets are resolved against a model. [`LoraConfig::on`] makes it. It holds no tensors but the base's
/// [quantized](Adapter::quantized) matrices.
///
/// A name is that of a model's tensor, `model.layers.0.self_attn.q_proj.lora_A.weight`: PEFT's without its prefix.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub(super) config: LoraConfig,
    /// The adapted layers, by path.
    pub(super) branches: BTreeMap<String, (Layer, LowRank)>,
    /// The tensors that are trained.
    pub(super) trained: BTreeMap<String, Shape>,
    /// The tensors and layers of the base.
    pub(super) layout: Layout,
    /// The base's matrices in blocks of few bits.
    pub(super) quantized: BTreeMap<String, Quantized>,
}

impl LoraConfig {
    /// Resolves the targets against a model, whose code runs without tensors.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for settings out of range, and when targets match no layer: it lists the model's. The error of
    /// `model`.
    pub fn on<M, E>(&self, model: impl FnOnce(&Init) -> Result<M, E>) -> Result<Adapter, Error>
    where
        E: From<candle_core::Error> + Into<Error>,
    {
        let layout = Init::layout_of(model).map_err(Into::into)?;
        let Selected { branches, in_full } = self.select(&layout)?;
        let mut trained = BTreeMap::new();
        for (path, (layer, branch)) in &branches {
            trained.extend(shapes(path, *layer, branch));
        }
        trained.extend(in_full.into_iter().filter_map(|name| {
            let shape = layout.tensors.get(&name)?.clone();
            Some((name, shape))
        }));
        let (config, quantized) = (self.clone(), BTreeMap::new());
        Ok(Adapter { config, branches, trained, layout, quantized })
    }
}

/// The names and shapes of a branch's tensors.
fn shapes(path: &str, layer: Layer, branch: &LowRank) -> Vec<(String, Shape)> {
    let (Layer { inputs, outputs, .. }, rank) = (layer, branch.rank());
    let [a, b] = names(path, layer.kind);
    let mut found = vec![(a, (rank, inputs).into()), (b, (outputs, rank).into())];
    if branch.is_dora() {
        found.push((magnitude(path), outputs.into()));
    }
    found
}

/// The names of the matrices of a branch.
pub(super) fn names(path: &str, kind: LayerKind) -> [String; 2] {
    match kind {
        LayerKind::Embedding => ["A", "B"].map(|it| format!("{path}.lora_embedding_{it}")),
        _ => ["A", "B"].map(|it| format!("{path}.lora_{it}.weight")),
    }
}

/// The name of the magnitudes of a branch.
pub(super) fn magnitude(path: &str) -> String {
    format!("{path}.lora_magnitude_vector")
}

impl Adapter {
    /// Takes the matrices of the base that are in blocks of few bits (Dettmers et al., "QLoRA: Efficient Finetuning of Quantized
    /// LLMs", 2023). The tensors of the base that other methods take are then the rest; these matrices are among the
    /// [parameters](Self::params) and in the [model](Self::init), and are dequantized when the adapter is
    /// [merged](Self::merge).
    ///
    /// ```
    /// use cog_train::candle_core::{Device, Error};
    /// use cog_train::engine::Precision;
    /// use cog_train::lora::{LoraConfig, Modules};
    /// use cog_train::nn::{BlockLayout, Init, Linear, Quantized, Rng};
    ///
    /// let net = |init: &Init| Linear::new(&init.at("q_proj"), 64, 8);
    /// let mut base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(net)?;
    /// let weight = Quantized::quantize(&base.remove("q_proj.weight").unwrap(), BlockLayout::Nf4)?;
    ///
    /// let adapter = LoraConfig::new(4).targets(Modules::AllLinear).on(net)?;
    /// let adapter = adapter.quantized([("q_proj.weight", weight)])?;
    /// let trained = adapter.draw(&base, Rng::new(42, "lora"))?;
    /// let params = adapter.params(base, trained, Precision::F32)?;
    /// let net = adapter.init(params.tensors()).build(net)?;
    /// assert_eq!(params.count(), 8 * 64 + 8 + 4 * (64 + 8));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when one of them is to be trained in full.
    pub fn quantized<K: Into<String>>(
        mut self,
        matrices: impl IntoIterator<Item = (K, Quantized)>,
    ) -> Result<Self, Error> {
        for (name, matrix) in matrices {
            let name = name.into();
            if self.trained.contains_key(&name) {
                let layout = matrix.layout();
                return Err(invalid(format!(
                    "`{name}` is quantized ({layout}), and cannot be trained in full\n\
                     hint: take its module out of `modules_to_save`, or load the base without quantization"
                )));
            }
            self.quantized.insert(name, matrix);
        }
        Ok(self)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// The paths of the adapted layers, sorted, with their branches.
    pub fn layers(&self) -> impl Iterator<Item = (&str, LowRank)> {
        self.branches.iter().map(|(path, (_, branch))| (path.as_str(), *branch))
    }

    /// The names of the tensors that are trained, sorted: those of the branches, and the base's own in `modules_to_save` and of
    /// trained biases.
    pub fn trained(&self) -> impl Iterator<Item = &str> {
        self.trained.keys().map(String::as_str)
    }

    /// Makes the parameters of a training on the base's device: `trained` in 32 bits, and the base frozen, which is not copied. Weights
    /// of the base in 16 bits [stay so](Params::with_frozen_weights) where the precision is 32 bits.
    ///
    /// # Errors
    ///
    /// Those of [`Params::new`] and [`Params::with_frozen`].
    pub fn params(
        &self,
        mut base: BTreeMap<String, Tensor>,
        trained: BTreeMap<String, Tensor>,
        precision: Precision,
    ) -> Result<Params, Error> {
        let device = base.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        base.retain(|name, _| !trained.contains_key(name));
        let move_to = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_device(&device)?));
        let trained = trained.into_iter().map(move_to).collect::<Result<Vec<_>, Error>>()?;
        let is_trained = |(name, _): &(String, Tensor)| self.trained.contains_key(name);
        let (trained, replaced): (Vec<_>, Vec<_>) = trained.into_iter().partition(is_trained);
        let params = Params::new(trained)?.precision(precision)?;
        let is_weight = |(name, _): &(String, Tensor)| self.is_weight(name);
        let (weights, others): (Vec<_>, Vec<_>) =
            base.into_iter().chain(replaced).partition(is_weight);
        let params = params.with_frozen_weights(weights)?.with_frozen(others)?;
        params.with_quantized(self.quantized.clone())
    }

    /// Makes the parameters of a training that starts with new values, in 32 bits: [`draw`](Self::draw), then
    /// [`params`](Self::params).
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub fn draw_params(&self, base: BTreeMap<String, Tensor>, rng: Rng) -> Result<Params, Error> {
        let drawn = self.draw(&base, rng)?;
        self.params(base, drawn, Precision::F32)
    }

    /// Puts the tensors of an adapter beside those of the base, in the base's type: what a model that is not trained is built
    /// from.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn tensors(
        &self,
        mut base: BTreeMap<String, Tensor>,
        trained: BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let dtype = self.dtype(&base);
        let device = base.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        for (name, tensor) in trained {
            base.insert(name, tensor.to_device(&device)?.to_dtype(dtype)?);
        }
        Ok(base)
    }

    /// The source that a model with the adapter is built from. The model computes in the type of the adapter's tensors.
    #[must_use]
    pub fn init<K: Into<String>>(&self, tensors: impl IntoIterator<Item = (K, Tensor)>) -> Init {
        let add = |init: Init, (path, branch)| init.low_rank(path, branch);
        let tensors: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        // The base may have weights of fewer bits.
        let dtype = self.trained.keys().find_map(|name| tensors.get(name)).map(Tensor::dtype);
        let init = Init::from_tensors(tensors);
        let init = match dtype {
            Some(dtype) => init.compute_in(dtype),
            None => init,
        };
        self.layers().fold(init.quantized(self.quantized.clone()), add)
    }

    /// Whether a tensor of the base is the weight of a linear layer or the table of an embedding.
    fn is_weight(&self, name: &str) -> bool {
        let layer = name.strip_suffix(".weight").and_then(|path| self.layout.layers.get(path));
        layer.is_some_and(|layer| layer.kind != LayerKind::Linear { tied: true })
    }

    /// The type that the base computes in: 32 bits if some of its tensors are, beside which weights may be of 16.
    pub(super) fn dtype(&self, tensors: &BTreeMap<String, Tensor>) -> DType {
        let own = tensors.iter().filter(|(name, _)| self.layout.tensors.contains_key(*name));
        let mut dtypes = own.map(|(_, tensor)| tensor.dtype());
        let first = dtypes.next().unwrap_or(DType::F32);
        dtypes.find(|dtype| *dtype == DType::F32).unwrap_or(first)
    }

    /// Gives the matrices `B` a learning rate of their own, `ratio` times that of the rest (Hayou et al., "LoRA+: Efficient Low
    /// Rank Adaptation of Large Models", 2024). Trained vectors, such as biases, have it too, as in PEFT.
    #[must_use]
    pub fn lora_plus(&self, optimizer: Optimizer, ratio: f64) -> Optimizer {
        let faster = |(name, shape): &(&String, &Shape)| {
            name.ends_with(".lora_B.weight") || shape.rank() == 1
        };
        let names = self.trained.iter().filter(faster).map(|(name, _)| name.as_str());
        let group = Group::new().learning_rate(ratio);
        names.fold(optimizer, |optimizer, name| optimizer.group(name, group.clone()))
    }
}

/// A tensor of the base.
pub(super) fn found<'a>(
    base: &'a BTreeMap<String, Tensor>,
    name: &str,
) -> Result<&'a Tensor, Error> {
    base.get(name).ok_or_else(|| invalid(format!("the base has no tensor `{name}`")))
}
