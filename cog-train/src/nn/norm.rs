//! Normalization of rows.

use candle_core::Tensor;

use super::Operand;
use crate::error::Error;
use crate::kernels::layer_norm;

/// Layer normalization over the last dimension (Ba, Kiros and Hinton, "Layer Normalization", 2016).
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor, Var};
/// use cog_train::nn::LayerNorm;
///
/// let (weight, bias) = (Var::ones(4, DType::F32, &Device::Cpu)?, Var::zeros(4, DType::F32, &Device::Cpu)?);
/// let norm = LayerNorm::new(weight.as_tensor().clone(), bias.as_tensor().clone(), 1e-5);
/// let y = norm.forward(&Tensor::new(&[[1f32, 2.0, 3.0, 4.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][0] + 1.3416).abs() < 1e-4);
/// assert!(y.sqr()?.sum_all()?.backward()?.get(&weight).is_some());
/// # Ok::<(), cog_train::anyhow::Error>(())
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
    /// [`Error::Tensor`] when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| layer_norm::forward(&x, &self.weight, &self.bias, self.epsilon))
    }
}
