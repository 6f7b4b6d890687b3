//! Losses, summed over targets.

use candle_core::{Error, Tensor};

use super::{Operand, Weight};
use crate::kernels::{cross_entropy as scores, linear_cross_entropy as linear};

/// A cross-entropy with a weight for each class and with label smoothing (PyTorch's `CrossEntropyLoss`).
///
/// With smoothing `s`, a row's target is its class by `1 - s` and all classes alike by `s`. The weight of a class multiplies its part
/// of the loss, so that rare classes may count for more.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{CrossEntropy, cross_entropy};
///
/// let logits = Tensor::new(&[[2f32, 0.0], [0.0, 2.0], [1.0, 0.0]], &Device::Cpu)?;
/// let targets = Tensor::new(&[0u32, 1, 1], &Device::Cpu)?;
///
/// // As many rows of class 0 as of class 1 in all: n / (classes * rows of the class).
/// let loss = CrossEntropy::new().balanced(&[100, 300]).label_smoothing(0.1);
/// let sum = loss.forward(&logits, &targets)?;
/// // PyTorch's reduction="mean" divides by the weights of the targets, as `Loss::weighted(&sum, loss.weight_of(&targets)?)`.
/// let mean = sum.to_scalar::<f32>()? / loss.weight_of(&targets)? as f32;
/// assert!((loss.weight_of(&targets)? - (2.0 + 2.0 * 2.0 / 3.0)).abs() < 1e-6);
/// assert!((mean - 0.4405).abs() < 1e-4, "{mean}");
///
/// let plain = CrossEntropy::new().forward(&logits, &targets)?;
/// assert_eq!(plain.to_scalar::<f32>()?, cross_entropy(&logits, &targets)?.to_scalar::<f32>()?);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy(scores::Smoothed);

impl CrossEntropy {
    /// A cross-entropy without weights and smoothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weight of each class, of 0 or more.
    #[must_use]
    pub fn class_weights(mut self, weights: impl IntoIterator<Item = f32>) -> Self {
        self.0.weights = Some(weights.into_iter().collect());
        self
    }

    /// Sets weights by which the classes count alike, from the number of rows of each: `n / (k * n_c)`, as scikit-learn's
    /// `class_weight="balanced"`, where `k` counts the classes that have rows. A class without rows has a weight of 1.
    #[must_use]
    pub fn balanced(self, counts: &[u64]) -> Self {
        let rows: u64 = counts.iter().sum();
        let classes = counts.iter().filter(|count| **count > 0).count();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a weight has 32 bits"
        )]
        let weight = |count: &u64| match *count {
            0 => 1.0,
            count => (rows as f64 / (classes as f64 * count as f64)) as f32,
        };
        self.class_weights(counts.iter().map(weight))
    }

    /// Sets the share of each target that goes to all classes alike, from 0 to 1.
    #[must_use]
    pub fn label_smoothing(mut self, smoothing: f64) -> Self {
        self.0.smoothing = smoothing;
        self
    }

    /// Computes the loss, summed over the targets, as [`cross_entropy`] does.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit, a target is no class, the weights are not one for each class, a weight is negative
    /// or not finite, the smoothing is not between 0 and 1, or the device fails.
    pub fn forward<T: Operand>(&self, logits: &T, targets: &Tensor) -> Result<T, Error> {
        self.check()?;
        T::on_nodes([logits], |[logits]| scores::forward_weighted(&logits, targets, &self.0))
    }

    /// Computes the loss of `h weight^T` without storing those scores, as [`linear_cross_entropy`] does.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::CrossEntropy;
    ///
    /// let head = Tensor::new(&[[1f32, 0.0], [0.0, 1.0], [1.0, 1.0]], &Device::Cpu)?;
    /// let h = Tensor::new(&[[2f32, 1.0], [0.0, -1.0]], &Device::Cpu)?;
    /// let targets = Tensor::new(&[2u32, 0], &Device::Cpu)?;
    ///
    /// let loss = CrossEntropy::new().label_smoothing(0.1);
    /// let fused = loss.forward_linear(&h, &head, &targets)?.to_scalar::<f32>()?;
    /// let stored = loss.forward(&h.matmul(&head.t()?)?, &targets)?.to_scalar::<f32>()?;
    /// assert!((fused - stored).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward); class weights, for which the scores have to be stored.
    pub fn forward_linear<T: Operand>(
        &self,
        h: &T,
        weight: impl Into<Weight>,
        targets: &Tensor,
    ) -> Result<T, Error> {
        self.check()?;
        if self.0.weights.is_some() {
            let reason = "cross_entropy: class weights need stored scores\nhint: use `forward`";
            return Err(Error::msg(reason));
        }
        let smoothing = self.0.smoothing;
        T::on_nodes([h], |[h]| linear::forward_smoothed(&h, weight, targets, smoothing))
    }

    /// Returns the weights of the targets, added up: the divisor of PyTorch's `reduction="mean"`. Without weights it is the number of
    /// targets that are not ignored.
    ///
    /// # Errors
    ///
    /// candle's error when a target has no weight, or the device fails.
    pub fn weight_of(&self, targets: &Tensor) -> Result<f64, Error> {
        let classes = self.0.weights.as_ref().map_or(super::IGNORED as usize, Vec::len);
        let targets = scores::checked(targets, targets.elem_count(), classes)?;
        let weight = |target: &u32| match &self.0.weights {
            Some(weights) => f64::from(weights[*target as usize]),
            None => 1.0,
        };
        Ok(targets.iter().filter(|target| **target != super::IGNORED).map(weight).sum())
    }

    fn check(&self) -> Result<(), Error> {
        let smoothing = self.0.smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            let reason = format!("cross_entropy: a label smoothing of {smoothing}, not of 0 to 1");
            return Err(Error::msg(reason));
        }
        let is_wrong = |weight: &&f32| !weight.is_finite() || **weight < 0.0;
        match self.0.weights.iter().flatten().find(is_wrong) {
            None => Ok(()),
            Some(weight) => {
                Err(Error::msg(format!("cross_entropy: a class has the weight {weight}")))
            }
        }
    }
}

/// Computes the cross-entropy of scores, summed over the targets (PyTorch's `cross_entropy` with `reduction="sum"`).
///
/// `logits` is `[n, classes]` of floats, `targets` `[n]` of integers. A target of [`IGNORED`](super::IGNORED), or a negative one, counts for
/// nothing. The result is one number, of 32 bits for logits of 16.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let logits = Tensor::new(&[[2f32, 0.0], [0.0, 2.0]], &Device::Cpu)?;
/// let loss = nn::cross_entropy(&logits, &Tensor::new(&[0u32, nn::IGNORED], &Device::Cpu)?)?;
/// assert!((loss.to_scalar::<f32>()? - 0.1269).abs() < 1e-4);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shapes do not fit, a target is no class, or the device fails.
pub fn cross_entropy<T: Operand>(logits: &T, targets: &Tensor) -> Result<T, Error> {
    T::on_nodes([logits], |[logits]| scores::forward(&logits, targets))
}

/// Computes the cross-entropy of `h weight^T` without storing those scores: the last layer of a language model and its loss.
///
/// `h` is `[.., d]`, `weight` `[classes, d]`, `targets` has one integer for each row of `h`, as in [`cross_entropy`].
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use cog_train_nn as nn;
///
/// let head = Var::zeros((32, 4), DType::F32, &Device::Cpu)?;
/// let h = Tensor::ones((1, 2, 4), DType::F32, &Device::Cpu)?;
/// let loss = nn::linear_cross_entropy(&h, &head, &Tensor::new(&[[3u32, 5]], &Device::Cpu)?)?;
/// assert!((loss.to_scalar::<f32>()? - 2.0 * 32f32.ln()).abs() < 1e-5);
/// assert_eq!(loss.backward()?.get(&head).unwrap().dims(), [32, 4]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// As [`cross_entropy`].
pub fn linear_cross_entropy<T: Operand>(
    h: &T,
    weight: impl Into<Weight>,
    targets: &Tensor,
) -> Result<T, Error> {
    T::on_nodes([h], |[h]| linear::forward(&h, weight, targets))
}

/// The losses of [`linear_cross_entropy`], added up by group: minus the log-probability of the targets of a text, which
/// losses of preferences compare.
///
/// `h` is `[.., d]`, `weight` `[classes, d]`; `targets`, as in [`cross_entropy`], and `groups`, of u32, have one entry for each
/// row of `h`. The result is `[count]`, and a group without a target has a loss of zero.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn as nn;
///
/// let device = &Device::Cpu;
/// let head = Tensor::zeros((32, 4), DType::F32, device)?;
/// let h = Tensor::ones((3, 4), DType::F32, device)?;
/// let (targets, texts) = (Tensor::new(&[3u32, 5, 7], device)?, Tensor::new(&[0u32, 0, 1], device)?);
/// let losses = nn::grouped_linear_cross_entropy(&h, &head, &targets, &texts, 2)?.to_vec1::<f32>()?;
/// assert!((losses[0] - 2.0 * 32f32.ln()).abs() < 1e-5 && (losses[1] - 32f32.ln()).abs() < 1e-5);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// As [`cross_entropy`]; a group that is not below `count`.
pub fn grouped_linear_cross_entropy<T: Operand>(
    h: &T,
    weight: impl Into<Weight>,
    targets: &Tensor,
    groups: &Tensor,
    count: usize,
) -> Result<T, Error> {
    T::on_nodes([h], |[h]| linear::forward_grouped(&h, weight, targets, groups, count))
}

#[cfg(test)]
#[expect(clippy::excessive_precision, reason = "the digits that scikit-learn prints")]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    /// ```python
    /// # pip install scikit-learn
    /// import numpy as np
    /// from sklearn.utils.class_weight import compute_class_weight
    /// print(compute_class_weight("balanced", classes=np.arange(3), y=np.array([0] * 5 + [1] * 3 + [2] * 2)))
    /// ```
    #[test]
    fn balanced_weights_equal_those_of_scikit_learn() {
        let loss = CrossEntropy::new().balanced(&[5, 3, 2, 0]);
        let expected = [0.666_666_67f32, 1.111_111_11, 1.666_666_67, 1.0];
        for (found, expected) in loss.0.weights.unwrap().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn weights_and_smoothing_out_of_range_are_errors() {
        let logits = Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap();
        let targets = Tensor::zeros(1, DType::U32, &Device::Cpu).unwrap();
        for (loss, expected) in [
            (CrossEntropy::new().label_smoothing(1.5), "a label smoothing of 1.5, not of 0 to 1"),
            (CrossEntropy::new().label_smoothing(f64::NAN), "a label smoothing of NaN"),
            (CrossEntropy::new().class_weights([1.0, -1.0]), "a class has the weight -1"),
            (CrossEntropy::new().class_weights([f32::NAN, 1.0]), "a class has the weight NaN"),
        ] {
            let error = loss.forward(&logits, &targets).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let weighted = CrossEntropy::new().class_weights([1.0]);
        let other = Tensor::ones(1, DType::U32, &Device::Cpu).unwrap();
        assert!(weighted.weight_of(&other).unwrap_err().to_string().contains("target 1 of 1"));
    }
}
