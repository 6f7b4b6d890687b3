//! Dropout.

use super::{Init, Operand};
use crate::kernels::dropout as kernel;
use crate::kernels::tape::Pass;
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

/// [`dropout`] as a layer: it drops elements within [`training`](crate::training) and is the identity elsewhere. The dropped
/// elements are a function of the pass and of the layer's path.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Dropout, Init, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let [one, other] = [Dropout::new(&init.at("one"), 0.5)?, Dropout::new(&init.at("other"), 0.5)?];
/// let x = Tensor::ones(64, DType::F32, &Device::Cpu)?;
/// let y = |layer: &Dropout, step| nn::training(42, step, || layer.forward(&x)?.to_vec1::<f32>());
/// assert_eq!(one.forward(&x)?.to_vec1::<f32>()?, [1.0; 64]);
/// assert_eq!(y(&one, 0)?, y(&one, 0)?);
/// assert!(y(&one, 0)? != y(&one, 1)? && y(&one, 0)? != y(&other, 0)?);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dropout {
    p: f64,
    /// The purpose of its random numbers.
    purpose: String,
}

impl Dropout {
    /// A layer that drops elements with probability `p`. It has no tensors.
    ///
    /// # Errors
    ///
    /// candle's error when `p` is not from 0 to 1.
    pub fn new(init: &Init, p: f64) -> Result<Self, Error> {
        kernel::check(p)?;
        Ok(Self { p, purpose: format!("dropout.{}", init.path()) })
    }

    /// Whether it drops elements now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.p > 0.0 && Pass::current().stream(&self.purpose).is_some()
    }

    /// Drops elements of `x`, of any shape.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        match Pass::current().stream(&self.purpose).filter(|_| self.p > 0.0) {
            Some(stream) => dropout(x, self.p, stream),
            None => Ok(x.clone()),
        }
    }

    /// The elements that are dropped now, if any.
    pub(crate) fn mask(&self) -> Option<kernel::Mask> {
        let stream = Pass::current().stream(&self.purpose).filter(|_| self.p > 0.0)?;
        Some(kernel::Mask::new(self.p, stream))
    }
}
