//! Dropout.

use super::Operand;
use crate::kernels::dropout as kernel;
use crate::rng::Stream;
use candle_core::Error;

/// Sets each element of `x` to zero with probability `p`, and multiplies the others by `1 / (1 - p)` (Srivastava et al.,
/// "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014). For training only: leave it out where a
/// model is evaluated.
///
/// The dropped elements are a function of the stream, the same on every device: give each layer of each step its own stream.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Rng};
///
/// let (step, layer, layers) = (10, 1, 4);
/// let stream = Rng::new(42, "dropout").at(step * layers + layer);
/// let y = nn::dropout(&Tensor::ones(1000, DType::F32, &Device::Cpu)?, 0.5, stream)?;
/// assert!(y.to_vec1::<f32>()?.iter().all(|y| *y == 0.0 || *y == 2.0));
/// assert!((y.mean_all()?.to_scalar::<f32>()? - 1.0).abs() < 0.2);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when `p` is not from 0 to 1 or the device fails.
pub fn dropout<T: Operand>(x: &T, p: f64, stream: Stream) -> Result<T, Error> {
    T::on_nodes([x], |[x]| kernel::forward(&x, p, stream))
}
