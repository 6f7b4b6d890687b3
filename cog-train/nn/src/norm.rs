//! Normalization of rows.

use candle_core::{Error, Tensor};

use super::{Init, Initializer, Operand};
use crate::kernels::{layer_norm, rms_norm};

/// Layer normalization over the last dimension (Ba, Kiros and Hinton, "Layer Normalization", 2016).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{Init, LayerNorm, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let norm = LayerNorm::new(&init.at("norm"), 4, 1e-5)?;
/// let y = norm.forward(&Tensor::new(&[[1f32, 2.0, 3.0, 4.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][0] + 1.3416).abs() < 1e-4);
/// assert!(y.sqr()?.sum_all()?.backward()?.get(norm.weight()).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// A layer over rows of `n` values with the parameters `weight` `[n]` of ones and `bias` `[n]` of zeros; `epsilon` is added
    /// to the variance (1e-5 in PyTorch, 1e-12 in BERT).
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, n: usize, epsilon: f64) -> Result<Self, Error> {
        let weight = init.tensor("weight", n, Initializer::ONES)?;
        Ok(Self { weight, bias: init.tensor("bias", n, Initializer::ZEROS)?, epsilon })
    }

    /// A layer of a weight and a bias, both `[n]`.
    #[must_use]
    pub fn from_tensors(weight: Tensor, bias: Tensor, epsilon: f64) -> Self {
        Self { weight, bias, epsilon }
    }

    /// The weight, `[n]`.
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[n]`.
    #[must_use]
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// `x` is `[.., n]`, and so is the result.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| layer_norm::forward(&x, &self.weight, &self.bias, self.epsilon))
    }
}

/// Normalization of rows by their root mean square (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019):
/// `x / sqrt(mean(x^2) + epsilon) * weight`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{Init, RmsNorm, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let norm = RmsNorm::new(&init.at("norm"), 2, 0.0)?;
/// let y = norm.forward(&Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][1] - 4.0 / 12.5f32.sqrt()).abs() < 1e-6);
/// assert!(y.sum_all()?.backward()?.get(norm.weight()).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
    /// Added to the weight.
    offset: f64,
}

impl RmsNorm {
    /// A layer over rows of `n` values with the parameter `weight` `[n]` of ones; `epsilon` is added to the mean of the squares.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, n: usize, epsilon: f64) -> Result<Self, Error> {
        Ok(Self::from_tensors(init.tensor("weight", n, Initializer::ONES)?, epsilon))
    }

    /// A layer whose parameter `weight` is of zeros and stands for `1 + weight`, as Gemma's. The sum is computed in 32 bits.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn with_offset(init: &Init, n: usize, epsilon: f64) -> Result<Self, Error> {
        Ok(Self { weight: init.tensor("weight", n, Initializer::ZEROS)?, epsilon, offset: 1.0 })
    }

    /// The weight, `[n]`.
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// A layer of a weight `[n]`.
    #[must_use]
    pub fn from_tensors(weight: Tensor, epsilon: f64) -> Self {
        Self { weight, epsilon, offset: 0.0 }
    }

    /// `x` is `[.., n]`, and so is the result.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| rms_norm::forward(&x, &self.weight, self.offset, self.epsilon))
    }
}
