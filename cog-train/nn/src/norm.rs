//! Normalization of rows.

use candle_core::{Error, Tensor};

use super::Operand;
use crate::kernels::{layer_norm, rms_norm};

/// Layer normalization over the last dimension (Ba, Kiros and Hinton, "Layer Normalization", 2016).
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use cog_train_nn::LayerNorm;
///
/// let (weight, bias) = (Var::ones(4, DType::F32, &Device::Cpu)?, Var::zeros(4, DType::F32, &Device::Cpu)?);
/// let norm = LayerNorm::new(weight.as_tensor().clone(), bias.as_tensor().clone(), 1e-5);
/// let y = norm.forward(&Tensor::new(&[[1f32, 2.0, 3.0, 4.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][0] + 1.3416).abs() < 1e-4);
/// assert!(y.sqr()?.sum_all()?.backward()?.get(&weight).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// From a weight and a bias, both `[n]`, and what is added to the variance.
    #[must_use]
    pub fn new(weight: Tensor, bias: Tensor, epsilon: f64) -> Self {
        Self { weight, bias, epsilon }
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
/// use candle_core::{DType, Device, Tensor, Var};
/// use cog_train_nn::RmsNorm;
///
/// let weight = Var::ones(2, DType::F32, &Device::Cpu)?;
/// let norm = RmsNorm::new(weight.as_tensor().clone(), 0.0);
/// let y = norm.forward(&Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][1] - 4.0 / 12.5f32.sqrt()).abs() < 1e-6);
/// assert!(y.sum_all()?.backward()?.get(&weight).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
}

impl RmsNorm {
    /// From a weight `[n]` and what is added to the mean of the squares.
    #[must_use]
    pub fn new(weight: Tensor, epsilon: f64) -> Self {
        Self { weight, epsilon }
    }

    /// `x` is `[.., n]`, and so is the result.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| rms_norm::forward(&x, &self.weight, self.epsilon))
    }
}
