//! Sums, means and softmax along a dimension.
#![expect(clippy::needless_pass_by_value, reason = "a dimension is given as to candle's functions")]

use candle_core::shape::Dim;
use candle_core::{Error, Tensor};

use super::Operand;
use crate::kernels::{reduce, softmax as kernel};

/// Sums over a dimension, which is removed: of `[B, T, d]` over dimension 1, `[B, d]`. Floats of 16 bits are added up in
/// 32.
///
/// ```
/// use candle_core::{D, Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(nn::sum(&x, 0)?.to_vec1::<f32>()?, [4.0, 6.0]);
/// assert_eq!(nn::sum(&x, D::Minus1)?.to_vec1::<f32>()?, [3.0, 7.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when there is no such dimension or the device fails.
pub fn sum<T: Operand>(x: &T, dim: impl Dim) -> Result<T, Error> {
    T::on_nodes([x], |[x]| reduce::sum(&x, dim.to_index(x.tensor().shape(), "sum")?, 1.0))
}

/// Averages over a dimension, which is removed: of `[B, T, d]` over dimension 1, `[B, d]`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(nn::mean(&x, 0)?.to_vec1::<f32>()?, [2.0, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`sum`].
pub fn mean<T: Operand>(x: &T, dim: impl Dim) -> Result<T, Error> {
    T::on_nodes([x], |[x]| reduce::mean(&x, dim.to_index(x.tensor().shape(), "mean")?))
}

/// The mean over the positions of each row that its mask keeps: `x` is `[B, T, d]`, `mask` `[B, T]` of any type, where 0
/// leaves a position out, and the result is `[B, d]`. What is left out does not matter, not even a NaN. The mean of a row
/// that keeps nothing is 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[[1f32, 2.0], [3.0, 4.0], [9.0, 9.0]]], &Device::Cpu)?;
/// let mask = Tensor::new(&[[1u8, 1, 0]], &Device::Cpu)?; // the last position is padding
/// assert_eq!(nn::masked_mean(&x, &mask)?.to_vec2::<f32>()?, [[2.0, 3.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub fn masked_mean<T: Operand>(x: &T, mask: &Tensor) -> Result<T, Error> {
    T::on_nodes([x], |[x]| reduce::masked_mean(&x, mask))
}

/// `exp(x) / sum(exp(x))` along a dimension. The result has the shape and type of `x`; floats of 16 bits are computed with
/// in 32.
///
/// ```
/// use candle_core::{D, Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[0f32, 3f32.ln()]], &Device::Cpu)?;
/// let y = nn::softmax(&x, D::Minus1)?.to_vec2::<f32>()?;
/// assert!((y[0][0] - 0.25).abs() < 1e-6 && (y[0][1] - 0.75).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`sum`].
pub fn softmax<T: Operand>(x: &T, dim: impl Dim) -> Result<T, Error> {
    T::on_nodes([x], |[x]| kernel::forward(&x, dim.to_index(x.tensor().shape(), "softmax")?))
}
