//! Activation functions.

use super::Operand;
use crate::kernels::activation::{self, Activation};
use crate::kernels::swiglu as gated;
use candle_core::Error;

/// A function of one tensor of any shape.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident $activation:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// The result has the shape and type of `x`.
        ///
        /// # Errors
        ///
        /// candle's error when the device fails.
        pub fn $name<T: Operand>(x: &T) -> Result<T, Error> {
            T::on_nodes([x], |[x]| activation::forward(&x, Activation::$activation))
        }
    )*};
}

functions! {
    /// The Gaussian error linear unit in its tanh form, `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`
    /// (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016): the one of GPT-2, `gelu_new` in Hugging Face's
    /// configurations.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    ///
    /// let x = Var::new(&[0.4f32], &Device::Cpu)?;
    /// let y = cog_train_nn::gelu(x.as_tensor())?;
    /// assert!((y.to_vec1::<f32>()?[0] - 0.262_161_17).abs() < 1e-6);
    /// assert!((y.backward()?.get(&x).unwrap().to_vec1::<f32>()?[0] - 0.802_658_8).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    gelu Gelu;
    /// The exact Gaussian error linear unit, `x * P(X <= x)` of a normal X: the one of BERT, `gelu` in Hugging Face's
    /// configurations.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let y = cog_train_nn::gelu_erf(&Tensor::new(&[0.4f32], &Device::Cpu)?)?;
    /// assert!((y.to_vec1::<f32>()?[0] - 0.262_168_7).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    gelu_erf GeluErf;
    /// `x * sigmoid(x)`, also called swish (Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", 2017).
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let y = cog_train_nn::silu(&Tensor::new(&[0.4f32], &Device::Cpu)?)?;
    /// assert!((y.to_vec1::<f32>()?[0] - 0.239_475_06).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    silu Silu;
    /// `max(x, 0)`, with slope 0 at 0.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let y = cog_train_nn::relu(&Tensor::new(&[-1f32, 2.0], &Device::Cpu)?)?;
    /// assert_eq!(y.to_vec1::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    relu Relu;
    /// The hyperbolic tangent.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let y = cog_train_nn::tanh(&Tensor::new(&[0.4f32], &Device::Cpu)?)?;
    /// assert!((y.to_vec1::<f32>()?[0] - 0.379_948_96).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    tanh Tanh;
    /// `1 / (1 + e^-x)`.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let y = cog_train_nn::sigmoid(&Tensor::new(&[0.4f32], &Device::Cpu)?)?;
    /// assert!((y.to_vec1::<f32>()?[0] - 0.598_687_66).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    sigmoid Sigmoid;
}

/// The gated unit of Llama's MLP (Shazeer, "GLU Variants Improve Transformer", 2020): `silu(gate) * up`, all of one
/// shape.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let (gate, up) = (Tensor::new(&[0.4f32], &Device::Cpu)?, Tensor::new(&[2f32], &Device::Cpu)?);
/// let y = nn::swiglu(&gate, &up)?;
/// assert!((y.to_vec1::<f32>()?[0] - 2.0 * 0.239_475_06).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shapes differ or the device fails.
pub fn swiglu<T: Operand>(gate: &T, up: &T) -> Result<T, Error> {
    T::on_nodes([gate, up], |[gate, up]| gated::forward(&gate, &up))
}

/// [`swiglu`] of the two halves of the last dimension, the gate first: `x` is `[.., 2n]`, the result `[.., n]`. One
/// linear layer can make both halves.
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let y = cog_train_nn::swiglu_packed(&Tensor::new(&[[0.4f32, 2.0]], &Device::Cpu)?)?;
/// assert_eq!(y.dims(), [1, 1]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the last dimension is odd or the device fails.
pub fn swiglu_packed<T: Operand>(x: &T) -> Result<T, Error> {
    T::on_nodes([x], |[x]| gated::packed(&x))
}
