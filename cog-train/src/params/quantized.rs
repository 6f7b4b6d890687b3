//! Frozen matrices in blocks of few bits.

use std::collections::BTreeMap;

use cog_train_nn::Quantized;

use super::{Params, invalid};
use crate::error::Error;

impl Params {
    /// Adds matrices in blocks of few bits, which are never trained. They are not copied, and cost their own bytes in every
    /// precision. They are in no checkpoint.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::Params;
    /// use cog_train::nn::{BlockLayout, Init, Linear, Quantized};
    ///
    /// let weight = Quantized::quantize(&Tensor::rand(-1f32, 1.0, (8, 64), &Device::Cpu)?, BlockLayout::Q4_0)?;
    /// let params = Params::new([("fc.bias", Tensor::zeros(8, DType::F32, &Device::Cpu)?)])?
    ///     .with_quantized([("fc.weight", weight)])?;
    /// assert_eq!((params.count(), params.trainable_count()), (8 * 64 + 8, 8));
    /// assert_eq!(params.bytes(), 8 * 64 / 32 * 18 + 8 * 4);
    /// let init = Init::from_tensors(params.tensors()).quantized(params.quantized());
    /// let layer = init.build(|init| Linear::new(&init.at("fc"), 64, 8))?;
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Params::new`].
    pub fn with_quantized<K: Into<String>>(
        mut self,
        matrices: impl IntoIterator<Item = (K, Quantized)>,
    ) -> Result<Self, Error> {
        for (name, matrix) in matrices {
            let name = name.into();
            if !self.device().same_device(matrix.device()) {
                return Err(invalid(format!(
                    "`{name}` is not on the device of the other parameters"
                )));
            }
            let taken = self.params.contains_key(&name);
            if self.quantized.insert(name.clone(), matrix).is_some() || taken {
                return Err(invalid(format!("the parameter `{name}` is there twice")));
            }
        }
        Ok(self)
    }

    /// Returns the matrices in blocks of few bits by name: what [`Init::quantized`](crate::nn::Init::quantized) takes. They share
    /// their blocks with the parameters.
    #[must_use]
    pub fn quantized(&self) -> BTreeMap<String, Quantized> {
        self.quantized.clone()
    }
}
