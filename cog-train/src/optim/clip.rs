//! Limits on the size of gradients.

use serde::Serialize;

use super::limits::{Limits, Range};
use crate::error::Error;
use crate::params::Gradients;
use cog_train_nn::__private::norm as gradient_norm;

/// A limit on gradients.
///
/// ```
/// use cog_train::optim::Clip;
///
/// let clip = Clip::Norm(1.0);
/// assert!((clip.factor(4.0) - 0.25).abs() < 1e-6);
/// assert_eq!(clip.factor(0.5), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clip {
    /// None.
    #[default]
    None,
    /// The norm of all gradients together is at most this: `torch.nn.utils.clip_grad_norm_` (Pascanu et al., "On the
    /// difficulty of training recurrent neural networks", 2013).
    Norm(f64),
    /// Each element is at most this far from 0: `torch.nn.utils.clip_grad_value_`.
    Value(f64),
}

impl Clip {
    /// Checks the limit.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a limit that is not above 0.
    pub fn check(self) -> Result<(), Error> {
        let mut limits = Limits::default();
        match self {
            Self::None => {}
            Self::Norm(limit) => limits.number("Clip::Norm", limit, Range::Positive),
            Self::Value(limit) => limits.number("Clip::Value", limit, Range::Positive),
        }
        limits.finish()
    }

    /// Returns the factor of gradients whose norm is `norm`: 1 for all but [`Norm`](Self::Norm). It is 0
    /// when the norm is infinite and NaN when it is NaN.
    #[must_use]
    pub fn factor(self, norm: f64) -> f64 {
        match self {
            Self::Norm(_) if norm.is_nan() => norm,
            // The millionth is PyTorch's, against a division by 0.
            Self::Norm(limit) => (limit / (norm + 1e-6)).min(1.0),
            Self::None | Self::Value(_) => 1.0,
        }
    }

    /// The gradients with each element within the limit of [`Value`](Self::Value), as they are otherwise. The limit
    /// holds for the gradients once they are multiplied by `scale`, which they are not here.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn values(self, gradients: Gradients, scale: f64) -> Result<Gradients, Error> {
        let limit = match self {
            Self::Value(limit) if scale != 0.0 => limit / scale.abs(),
            _ => return Ok(gradients),
        };
        gradients
            .iter()
            .map(|(name, gradient)| Ok((name.to_owned(), gradient.clamp(-limit, limit)?)))
            .collect()
    }
}

/// The Euclidean norm of all gradients together. Infinite and undefined gradients come out as such.
///
/// The bits are the same under any number of threads.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::engine::Gradients;
/// use cog_train::optim::{Clip, norm};
///
/// let tensor = |number: f32| Tensor::new(&[number], &Device::Cpu);
/// let gradients: Gradients =
///     [("a".to_owned(), tensor(3.0)?), ("b".to_owned(), tensor(4.0)?)].into_iter().collect();
/// assert_eq!(norm(&gradients)?, 5.0);
/// assert!((Clip::Norm(1.0).factor(5.0) - 0.2).abs() < 1e-6);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Tensor`] when the device fails.
pub fn norm(gradients: &Gradients) -> Result<f64, Error> {
    let squares = gradient_norm::sum_of_squares(gradients.iter().map(|(_, gradient)| gradient))?;
    Ok(squares.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn gradients() -> Gradients {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        [("a".to_owned(), tensor(&[0.5, -1.5, 2.0, 0.1])), ("b".to_owned(), tensor(&[3.0, -0.25]))]
            .into_iter()
            .collect()
    }

    fn scaled(gradients: &Gradients, factor: f64) -> Vec<f64> {
        let values = |(_, gradient): (&str, &Tensor)| gradient.to_vec1::<f32>().unwrap();
        gradients.iter().flat_map(values).map(|value| f64::from(value) * factor).collect()
    }

    /// ```python
    /// a = torch.tensor([0.5, -1.5, 2.0, 0.1]); a.grad = a.clone()
    /// b = torch.tensor([3.0, -0.25]); b.grad = b.clone()
    /// print(torch.nn.utils.clip_grad_norm_([a, b], 1.0), a.grad.tolist(), b.grad.tolist())
    /// ```
    #[test]
    fn as_pytorch_clips() {
        let gradients = gradients();
        let norm = norm(&gradients).unwrap();
        assert!((norm - 3.9462).abs() < 1e-4, "{norm}");
        let expected: [f64; 6] =
            [0.126_704_1, -0.380_112_3, 0.506_816_4, 0.025_340_8, 0.760_224_7, -0.063_352_1];
        let factor = Clip::Norm(1.0).factor(norm);
        for (is, expected) in scaled(&gradients, factor).into_iter().zip(expected) {
            assert!((is - expected).abs() < 1e-7, "{is} {expected}");
        }
    }

    /// Values are limited after the scale: at a half, the limit of 1 lets 2 pass.
    #[test]
    fn values_are_limited_in_scaled_units() {
        let clipped = Clip::Value(1.0).values(gradients(), 0.5).unwrap();
        let expected = [0.25f64, -0.75, 1.0, 0.05, 1.0, -0.125];
        for (is, expected) in scaled(&clipped, 0.5).into_iter().zip(expected) {
            assert!((is - expected).abs() < 1e-7, "{is} {expected}");
        }
        let untouched = Clip::Norm(1.0).values(gradients(), 0.5).unwrap();
        assert_eq!(scaled(&untouched, 1.0), scaled(&gradients(), 1.0));
    }

    #[test]
    fn what_is_not_finite_is_seen() {
        for bad in [f32::NAN, f32::INFINITY] {
            let tensor = Tensor::new(&[1.0, bad], &Device::Cpu).unwrap();
            let norm = norm(&[("a".to_owned(), tensor)].into_iter().collect()).unwrap();
            assert!(!norm.is_finite());
        }
        let factor = |norm| Clip::Norm(1.0).factor(norm);
        assert!(factor(f64::NAN).is_nan());
        assert!(factor(f64::INFINITY).abs() < f64::MIN_POSITIVE);
        assert!((factor(0.0) - 1.0).abs() < f64::EPSILON);
    }
}
