//! The named tensors that layers are built from.

mod build;
mod layout;
mod quantized;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Error, Shape, Tensor};

use self::source::{Choice, Source};
use crate::initializer::Initializer;
use crate::low_rank::LowRank;
use crate::rng::Rng;

pub use layout::{Layer, LayerKind, Layout};

/// The source of a model's tensors: drawn at random, or loaded. A layer requests each of its parameters by name and
/// shape, so that the code of a model states each of them once and serves both.
///
/// [`at`](Init::at) enters a module of the model, as a dotted path: the weight of `Linear::new(&init.at("layers").at(0).at("fc1"), ..)`
/// is called `layers.0.fc1.weight`. A drawn tensor is a function of the seed and of its full name, so that the order in
/// which layers are built changes nothing, nor does a layer that is added elsewhere.
///
/// ```
/// use candle_core::{DType, Device, Error, Tensor};
/// use cog_train_nn::{Init, Initializer, Linear, Rng, relu};
///
/// struct Net {
///     fc1: Linear,
///     fc2: Linear,
/// }
///
/// impl Net {
///     fn new(init: &Init) -> Result<Self, Error> {
///         Ok(Self { fc1: Linear::new(&init.at("fc1"), 8, 16)?, fc2: Linear::new(&init.at("fc2"), 16, 3)? })
///     }
///
///     fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
///         self.fc2.forward(&relu(&self.fc1.forward(x)?)?)
///     }
/// }
///
/// // From scratch: PyTorch's defaults, but for the last weight.
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).with("fc2.weight", Initializer::ZEROS);
/// let tensors = init.tensors_of(Net::new)?;
/// assert_eq!(tensors.keys().collect::<Vec<_>>(), ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
///
/// // From tensors: each is there, each has its shape, and none is left over.
/// let net = Init::from_tensors(tensors).build(Net::new)?;
/// assert_eq!(net.forward(&Tensor::zeros((1, 8), DType::F32, &Device::Cpu)?)?.dims(), [1, 3]);
/// # Ok::<(), Error>(())
/// ```
///
/// To train with `cog_train::engine`, the parameters come first and the model is built from what it computes with:
///
/// ```text
/// let params = Params::new(Init::random(job.rng("init"), job.device()).tensors_of(Net::new)?)?;
/// let net = Init::from_tensors(params.tensors()).build(Net::new)?;
/// ```
///
/// Cloning gives the same source.
#[derive(Clone)]
pub struct Init {
    source: Arc<Mutex<Source>>,
    /// The path of this module, with a dot at its end unless it is the whole.
    path: String,
}

impl Init {
    /// Draws every tensor, in 32 bits unless [`dtype`](Init::dtype) is called. The tensors are variables: gradients are
    /// computed for them.
    #[must_use]
    pub fn random(rng: Rng, device: &Device) -> Self {
        Self::new(BTreeMap::new(), vec![("*".to_owned(), rng)], device.clone())
    }

    /// Takes every tensor from those that are given, as it is.
    #[must_use]
    pub fn from_tensors<K: Into<String>>(tensors: impl IntoIterator<Item = (K, Tensor)>) -> Self {
        let loaded: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        let device = loaded.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        Self::new(loaded, Vec::new(), device)
    }

    fn new(loaded: BTreeMap<String, Tensor>, drawn: Vec<(String, Rng)>, device: Device) -> Self {
        let source = Source {
            loaded,
            quantized: BTreeMap::new(),
            taken: BTreeSet::new(),
            drawn,
            dtype: DType::F32,
            computes_in: None,
            device,
            initializers: Vec::new(),
            ignored: Vec::new(),
            layers: BTreeMap::new(),
            low_rank: BTreeMap::new(),
            tensors: BTreeMap::new(),
            problems: None,
            shapes_only: false,
        };
        Self { source: Arc::new(Mutex::new(source)), path: String::new() }
    }

    /// Draws tensors of another float type.
    #[must_use]
    pub fn dtype(self, dtype: DType) -> Self {
        self.lock().dtype = dtype;
        self
    }

    /// Draws the tensors whose names match where they are not among those loaded, such as the head that a pretrained
    /// model is fine-tuned with. In a pattern, `*` stands for any text.
    ///
    /// ```
    /// use candle_core::{Device, Error};
    /// use cog_train_nn::{Embedding, Init, Linear, Rng};
    ///
    /// let body = |init: &Init| Embedding::new(&init.at("words"), 10, 4);
    /// let classifier = |init: &Init| Ok::<_, Error>((body(init)?, Linear::new(&init.at("head"), 4, 2)?));
    /// let pretrained = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(body)?;
    ///
    /// let init = Init::from_tensors(pretrained.clone());
    /// assert!(init.build(classifier).is_err()); // there is no `head.weight`
    /// let init = Init::from_tensors(pretrained).draw_missing("head.*", Rng::new(2, "init"));
    /// assert!(init.build(classifier).is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn draw_missing(self, pattern: &str, rng: Rng) -> Self {
        self.lock().drawn.push((self.name(pattern), rng));
        self
    }

    /// Draws the tensors whose names match from another distribution than the layer's own; the last match counts. In a
    /// pattern, `*` stands for any text. It has no effect on tensors that are loaded.
    ///
    /// ```
    /// use candle_core::Device;
    /// use cog_train_nn::{Init, Initializer, LayerNorm, Linear, Rng};
    ///
    /// // GPT-2's: matrices of a small normal, biases of zero, norms of one.
    /// let init = Init::random(Rng::new(42, "init"), &Device::Cpu)
    ///     .with("*.weight", Initializer::Normal { std: 0.02 })
    ///     .with("*.bias", Initializer::ZEROS)
    ///     .with("*ln*.weight", Initializer::ONES);
    /// let fc = Linear::new(&init.at("fc"), 4, 4)?;
    /// assert_eq!(fc.bias().unwrap().to_vec1::<f32>()?, [0.0; 4]);
    /// assert_eq!(LayerNorm::new(&init.at("ln_1"), 4, 1e-5)?.weight().to_vec1::<f32>()?, [1.0; 4]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    #[must_use]
    pub fn with(self, pattern: &str, initializer: Initializer) -> Self {
        let choice = Choice { pattern: self.name(pattern), initializer, used: false };
        self.lock().initializers.push(choice);
        self
    }

    /// Gives the layer at a path a low-rank branch: a [`Linear`](crate::Linear) or an [`Embedding`](crate::Embedding). The
    /// parameters of the branch are the layer's, and are loaded or drawn as all others.
    ///
    /// ```
    /// use candle_core::{Device, Error};
    /// use cog_train_nn::{Init, Linear, LowRank, Rng};
    ///
    /// let model = |init: &Init| Linear::new(&init.at("layers").at(0).at("fc1"), 8, 16);
    /// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
    /// let tensors = init.low_rank("layers.0.fc1", LowRank::new(4, 2.0)).tensors_of(model)?;
    /// assert_eq!(tensors["layers.0.fc1.lora_A.weight"].dims(), [4, 8]);
    /// assert_eq!(tensors["layers.0.fc1.lora_B.weight"].dims(), [16, 4]);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn low_rank(self, layer: &str, branch: LowRank) -> Self {
        self.lock().low_rank.insert(self.name(layer), branch);
        self
    }

    /// Lets loaded tensors whose names match be left over, such as a `*.inv_freq` that the model computes itself.
    #[must_use]
    pub fn ignore(self, pattern: &str) -> Self {
        self.lock().ignored.push(self.name(pattern));
        self
    }

    /// Enters a module of the model, below this one.
    #[must_use]
    pub fn at(&self, module: impl Display) -> Self {
        Self { source: self.source.clone(), path: format!("{}{module}.", self.path) }
    }

    /// Returns a tensor of this module, for parameters that are in no layer. It is drawn from `initializer` where it is not loaded.
    ///
    /// # Errors
    ///
    /// candle's error when there is no such tensor, it has another shape or was requested before, or the device fails.
    /// Within [`build`](Init::build) the first three are reported at its end, all at once.
    pub fn tensor(
        &self,
        name: &str,
        shape: impl Into<Shape>,
        initializer: Initializer,
    ) -> Result<Tensor, Error> {
        let (name, shape) = (self.name(name), shape.into());
        let mut source = self.lock();
        let tensor = match source.find(&name, &shape, initializer)? {
            Ok(tensor) => tensor,
            Err(problem) => {
                let Some(problems) = &mut source.problems else { return Err(Error::Msg(problem)) };
                problems.push(problem);
                // The model is not returned.
                Tensor::zeros((), source.dtype, &source.device)?.broadcast_as(shape)?
            }
        };
        source.tensors.insert(name, tensor.clone());
        Ok(tensor)
    }

    /// Returns the tensors requested so far, by their full names. Quantized matrices are not among them.
    #[must_use]
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.lock().tensors.clone()
    }

    /// The layers that were built so far and may have a [low-rank branch](Init::low_rank), by path.
    #[must_use]
    pub fn layers(&self) -> BTreeMap<String, Layer> {
        self.lock().layers.clone()
    }

    /// Records the layer of this path, and returns its branch.
    pub(crate) fn layer(&self, kind: LayerKind, inputs: usize, outputs: usize) -> Option<LowRank> {
        let mut source = self.lock();
        source.layers.insert(self.path().to_owned(), Layer { kind, inputs, outputs });
        source.low_rank.get(self.path()).copied()
    }

    /// The path of this part.
    pub(crate) fn path(&self) -> &str {
        self.path.trim_end_matches('.')
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.lock();
        f.debug_struct("Init")
            .field("path", &self.path())
            .field("loaded", &source.loaded.len())
            .field("tensors", &source.tensors.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
