//! Tensors that a model updates itself.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::param::Role;
use super::{Params, Pattern};
use crate::error::Error;

impl Params {
    /// Marks the tensors that the model itself updates, such as the running statistics of a
    /// [`BatchNorm2d`](crate::nn::BatchNorm2d). They are not trained, stay in 32 bits in every precision, and are in every
    /// checkpoint, which frozen parameters are not. To be called before the model takes its [`tensors`](Self::tensors).
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::{Params, Precision};
    ///
    /// let tensors = ["bn.weight", "bn.running_mean"].map(|name| (name, Tensor::ones(2, DType::F32, &Device::Cpu)));
    /// let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor?))).collect::<Result<Vec<_>, cog_train::Error>>()?;
    /// let params = Params::new(tensors)?.buffers("*.running_*")?.precision(Precision::Bf16)?;
    /// assert_eq!(params.trainable_count(), 2);
    /// let running = &params.tensors()["bn.running_mean"];
    /// assert!(running.dtype() == DType::F32 && !running.is_variable());
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no parameter fits.
    pub fn buffers(self, pattern: impl Into<Pattern>) -> Result<Self, Error> {
        self.choose(&pattern.into(), |role, fits| if fits { Role::Buffer } else { role })
    }

    /// Copies of the [buffers](Self::buffers), by name.
    pub(crate) fn copy_buffers(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let buffers = self.iter().filter(|(_, param)| param.is_buffer());
        buffers.map(|(name, param)| Ok((name.to_owned(), param.master().copy()?))).collect()
    }

    /// Writes copies of buffers back.
    pub(crate) fn restore_buffers(&self, copies: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        let pairs = copies.iter().filter_map(|(name, copy)| Some((self.params.get(name)?, copy)));
        pairs.into_iter().try_for_each(|(param, copy)| param.set(copy))
    }
}
