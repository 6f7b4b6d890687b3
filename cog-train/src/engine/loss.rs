//! A loss as a sum and a weight, so that parts of a batch add up to the whole.

use candle_core::{DType, Tensor};

use crate::error::Error;

/// The loss of a batch: a sum over its targets, and how many there are.
///
/// Micro-batches and ranks add their sums and their weights, and the quotient is taken once. A mean of means would count
/// a short row's tokens for more than a long row's.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::engine::Loss;
///
/// let errors = Tensor::new(&[0.5f32, 1.5, 4.0], &Device::Cpu)?;
/// let loss = Loss::sum(errors.sum_all()?, 3)?;
/// assert_eq!(loss.weight(), 3.0);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Loss {
    sum: Tensor,
    weight: f64,
}

impl Loss {
    /// From the sum over `weight` targets: a tensor with one element of any shape, `f32`, `f16`, `bf16` or `f64`. In 16
    /// bits a sum over many targets loses digits: add up in `f32`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the tensor has more than one element.
    #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 targets")]
    #[expect(clippy::needless_pass_by_value, reason = "callers have it for this alone")]
    pub fn sum(sum: Tensor, weight: usize) -> Result<Self, Error> {
        Self::weighted(&sum, weight as f64)
    }

    /// From the mean over `weight` targets: a tensor with one element of any shape and any float type, which is
    /// multiplied out in `f32`.
    ///
    /// ```
    /// use cog_train::candle_core::{Device, Tensor};
    /// use cog_train::engine::Loss;
    ///
    /// let mean = Tensor::new(&[0.5f32, 1.5, 4.0], &Device::Cpu)?.mean_all()?;
    /// assert_eq!(Loss::mean(&mean, 3)?.value()?, 6.0);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the tensor has more than one element.
    #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^53 targets")]
    pub fn mean(mean: &Tensor, weight: usize) -> Result<Self, Error> {
        Self::weighted(&(mean.to_dtype(DType::F32)? * weight as f64)?, weight as f64)
    }

    /// From a sum in which targets count by weights of their own that add up to `weight`: a tensor with one element of
    /// any shape and any float type.
    ///
    /// ```
    /// use cog_train::candle_core::{Device, Tensor};
    /// use cog_train::engine::Loss;
    ///
    /// let errors = Tensor::new(&[0.5f32, 1.5, 4.0], &Device::Cpu)?;
    /// let weights = Tensor::new(&[1f32, 1.0, 0.5], &Device::Cpu)?;
    /// let loss = Loss::weighted(&(errors * weights)?.sum_all()?, 2.5)?;
    /// assert_eq!(loss.value()? / loss.weight(), 1.6);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the tensor has more than one element, or the weight is negative or not finite.
    pub fn weighted(sum: &Tensor, weight: f64) -> Result<Self, Error> {
        if sum.elem_count() != 1 {
            return Err(Error::InvalidConfig {
                reason: format!(
                    "a loss is one number, and this has the shape {:?}\nhint: `sum_all()` adds it up",
                    sum.dims()
                ),
            });
        }
        if !(weight.is_finite() && weight >= 0.0) {
            let reason =
                format!("the weight of a loss is {weight}, expected a number of 0 or more");
            return Err(Error::InvalidConfig { reason });
        }
        Ok(Self { sum: sum.flatten_all()?.squeeze(0)?, weight })
    }

    /// The sum, a tensor without dimensions, of the type that it was given in, or `f32` from [`mean`](Self::mean).
    /// Gradients start here.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.sum
    }

    /// The number of targets, or the sum of their weights.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The sum as a number.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn value(&self) -> Result<f64, Error> {
        Ok(self.sum.to_dtype(DType::F64)?.to_scalar()?)
    }
}
