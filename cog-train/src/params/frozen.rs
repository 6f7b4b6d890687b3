//! Tensors that are not trained.

use candle_core::Tensor;

use super::param::Role;
use super::{Param, Params, Pattern, invalid};
use crate::error::Error;

impl Params {
    /// Adds tensors that are not trained. They are not copied: one of the type that the model computes in costs its own bytes
    /// and nothing else, so call [`precision`](Self::precision) first.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::{Params, Precision};
    ///
    /// let base = Tensor::ones((8, 8), DType::BF16, &Device::Cpu)?;
    /// let params = Params::new([("head.weight", Tensor::zeros((2, 8), DType::F32, &Device::Cpu)?)])?
    ///     .precision(Precision::Bf16)?
    ///     .with_frozen([("body.weight", base)])?;
    /// // 64 numbers of 2 bytes, and 16 that are trained: 4 bytes, and 2 to compute with.
    /// assert_eq!(params.bytes(), 64 * 2 + 16 * (4 + 2));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Params::new`].
    pub fn with_frozen<K: Into<String>>(
        self,
        tensors: impl IntoIterator<Item = (K, Tensor)>,
    ) -> Result<Self, Error> {
        self.add_frozen(tensors, false)
    }

    /// Adds weights of linear layers and tables of embeddings that are not trained, as [`with_frozen`](Self::with_frozen). In
    /// [`Precision::F32`](super::Precision::F32) on the CPU, those of 16 bits stay as they are, and take half the memory: a model that is built by
    /// [`Init::compute_in`](crate::nn::Init::compute_in) widens them when it uses them, so that its results are the same bits.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::Params;
    /// use cog_train::nn::{Init, Linear};
    ///
    /// let base = Tensor::ones((8, 64), DType::BF16, &Device::Cpu)?;
    /// let params = Params::new([("fc.bias", Tensor::zeros(8, DType::F32, &Device::Cpu)?)])?
    ///     .with_frozen_weights([("fc.weight", base)])?;
    /// assert_eq!(params.bytes(), 8 * 64 * 2 + 8 * 4);
    /// let init = Init::from_tensors(params.tensors()).compute_in(DType::F32);
    /// let layer = init.build(|init| Linear::new(&init.at("fc"), 64, 8))?;
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Params::new`].
    pub fn with_frozen_weights<K: Into<String>>(
        self,
        tensors: impl IntoIterator<Item = (K, Tensor)>,
    ) -> Result<Self, Error> {
        self.add_frozen(tensors, true)
    }

    fn add_frozen<K: Into<String>>(
        mut self,
        tensors: impl IntoIterator<Item = (K, Tensor)>,
        widened: bool,
    ) -> Result<Self, Error> {
        for (name, tensor) in tensors {
            let name = name.into();
            if !self.device().same_device(tensor.device()) {
                return Err(invalid(format!(
                    "`{name}` is not on the device of the other parameters"
                )));
            }
            let param = Param::frozen(tensor, self.precision, widened)?;
            let taken = self.quantized.contains_key(&name);
            if self.params.insert(name.clone(), param).is_some() || taken {
                return Err(invalid(format!("the parameter `{name}` is there twice")));
            }
        }
        Ok(self)
    }

    /// Freezes the parameters whose names match: what is left of each is the tensor that the model computes with. Call it
    /// before the model takes its [`tensors`](Self::tensors).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no parameter fits.
    pub fn freeze(self, pattern: impl Into<Pattern>) -> Result<Self, Error> {
        self.choose(&pattern.into(), |role, fits| match role {
            Role::Trained if fits => Role::Frozen,
            other => other,
        })
    }
}
