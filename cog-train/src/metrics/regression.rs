//! The errors of predicted numbers.

use candle_core::{DType, Error as TensorError, Tensor};
use serde::{Deserialize, Serialize};

use super::{bits, float};
use crate::error::Error;

/// The errors of predicted numbers: mean absolute error, mean squared error and R².
///
/// All numbers count alike: a model with several outputs has one value over all of them. The sums are of 64 bits; R² loses digits where
/// the targets' mean is larger than a million times their spread.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::metrics::Regression;
///
/// let found = Tensor::new(&[2.5f32, 0.0, 2.0, 8.0], &Device::Cpu)?;
/// let errors = Regression::of(&found, &Tensor::new(&[3f32, -0.5, 2.0, 7.0], &Device::Cpu)?)?;
/// assert_eq!((errors.mean_absolute_error(), errors.mean_squared_error()), (0.5, 0.375));
/// assert!((errors.r2() - 0.9486).abs() < 1e-4);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    count: u64,
    #[serde(with = "bits")]
    absolute: f64,
    #[serde(with = "bits")]
    squared: f64,
    #[serde(with = "bits")]
    targets: f64,
    #[serde(with = "bits")]
    squared_targets: f64,
}

impl Regression {
    /// Adds up the errors of a batch: predictions and targets of one shape, of floats or integers.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the shapes differ or the device fails.
    pub fn of(predictions: &Tensor, targets: &Tensor) -> Result<Self, Error> {
        if predictions.dims() != targets.dims() {
            let (found, expected) = (predictions.dims(), targets.dims());
            let reason = format!("predictions of shape {found:?} and targets of {expected:?}");
            return Err(TensorError::Msg(reason).into());
        }
        let values = |tensor: &Tensor| -> Result<Vec<f64>, TensorError> {
            tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
        };
        let (predictions, targets) = (values(predictions)?, values(targets)?);
        let errors = || predictions.iter().zip(&targets).map(|(found, target)| found - target);
        Ok(Self {
            count: targets.len() as u64,
            absolute: errors().map(f64::abs).sum(),
            squared: errors().map(|error| error * error).sum(),
            targets: targets.iter().sum(),
            squared_targets: targets.iter().map(|target| target * target).sum(),
        })
    }

    /// Adds the sums of another batch.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.absolute += other.absolute;
        self.squared += other.squared;
        self.targets += other.targets;
        self.squared_targets += other.squared_targets;
    }

    /// Returns the mean absolute error; NaN without numbers.
    #[must_use]
    pub fn mean_absolute_error(&self) -> f64 {
        self.absolute / float(self.count)
    }

    /// Returns the mean squared error; NaN without numbers.
    #[must_use]
    pub fn mean_squared_error(&self) -> f64 {
        self.squared / float(self.count)
    }

    /// Returns the coefficient of determination, one minus the squared errors over the squared distances of the targets from their mean.
    ///
    /// As in scikit-learn, it is NaN for fewer than two numbers, and for targets that are all equal 1 if they are all found, else 0.
    #[must_use]
    pub fn r2(&self) -> f64 {
        if self.count < 2 {
            return f64::NAN;
        }
        let spread = self.squared_targets - self.targets * self.targets / float(self.count);
        if spread > 0.0 {
            1.0 - self.squared / spread
        } else if self.squared.is_nan() || spread.is_nan() {
            f64::NAN
        } else {
            f64::from(u8::from(self.squared == 0.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn errors(predictions: &[f64], targets: &[f64]) -> Regression {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        Regression::of(&tensor(predictions), &tensor(targets)).unwrap()
    }

    /// ```python
    /// # pip install scikit-learn
    /// from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
    /// targets, found = [3.0, -0.5, 2.0, 7.0, 4.25], [2.5, 0.0, 2.0, 8.0, 4.0]
    /// print([score(targets, found) for score in (mean_absolute_error, mean_squared_error, r2_score)])
    /// print(r2_score([2, 2], [2, 2]), r2_score([2, 2], [2, 3]), r2_score([2], [3]))
    /// ```
    #[test]
    fn errors_equal_those_of_scikit_learn_and_add_up_over_batches() {
        let mut all = errors(&[2.5, 0.0], &[3.0, -0.5]);
        all.add(&errors(&[2.0, 8.0, 4.0], &[2.0, 7.0, 4.25]));
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12);
        close(all.mean_absolute_error(), 0.45);
        close(all.mean_squared_error(), 0.3125);
        close(all.r2(), 0.949_104_234_527_687_3);
        close(errors(&[2.0, 2.0], &[2.0, 2.0]).r2(), 1.0);
        close(errors(&[2.0, 3.0], &[2.0, 2.0]).r2(), 0.0);
        assert!(errors(&[3.0], &[2.0]).r2().is_nan());
        let none = errors(&[], &[]);
        assert!(none.mean_absolute_error().is_nan() && none.r2().is_nan());
        assert!(errors(&[f64::NAN, 1.0], &[1.0, 1.0]).r2().is_nan());
    }

    #[test]
    fn other_shapes_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let error = Regression::of(&zeros(&[3, 1]), &zeros(&[3])).unwrap_err().to_string();
        assert!(error.contains("predictions of shape [3, 1] and targets of [3]"), "{error}");
    }
}
