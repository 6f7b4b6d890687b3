//! Losses, summed over targets.

use candle_core::{Error, Tensor};

use super::{Operand, Weight};
use crate::kernels::{cross_entropy as scores, linear_cross_entropy as linear};

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
