//! Adam with weight decay, on the weights (AdamW) or in the gradient (Adam).
//!
//! With the gradient `g` already scaled, the moments `m` and `v`, and the step `t` counted from 1:
//!
//! ```text
//! AdamW:  w <- w * (1 - lr * decay)            Adam:  g <- g + decay * w
//! m <- m + (g - m) * (1 - beta1)
//! v <- v * beta2 + (1 - beta2) * g * g
//! w <- w - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
//! ```
//!
//! All four tensors have one shape and are 32-bit floats. Sources: Kingma and Ba, "Adam" (2015); Loshchilov and Hutter,
//! "Decoupled Weight Decay Regularization" (2019); the order of operations is PyTorch's.

mod cpu;
mod cuda;
mod reference;

use candle_core::{Error, Tensor, Var};

use super::fused;

/// The hyperparameters of one update.
#[derive(Debug, Clone, Copy)]
pub struct Hyperparameters {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Step size.
    pub learning_rate: f64,
    /// Share of the weight that is subtracted, in units of the learning rate.
    pub weight_decay: f64,
    /// Whether the decay is taken from the weights (AdamW) instead of being added to the gradient (Adam).
    pub decoupled: bool,
    /// Factor of every gradient.
    pub gradient_scale: f64,
    /// From 1.
    pub step: u64,
}

/// The factors of one update, which are the same for every element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Constants<T = f64> {
    pub(super) scale: T,
    /// Multiplies the weight.
    pub(super) shrink: T,
    /// Multiplies the weight that is added to the gradient.
    pub(super) coupled: T,
    /// 1 - beta1.
    pub(super) share1: T,
    pub(super) beta2: T,
    /// 1 - beta2.
    pub(super) share2: T,
    /// 1 / sqrt(1 - beta2^t).
    pub(super) correction: T,
    pub(super) epsilon: T,
    /// lr / (1 - beta1^t).
    pub(super) rate: T,
}

impl Constants {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the arithmetic of the kernels is in 32 bits"
    )]
    pub(super) fn in_32_bits(&self) -> Constants<f32> {
        Constants {
            scale: self.scale as f32,
            shrink: self.shrink as f32,
            coupled: self.coupled as f32,
            share1: self.share1 as f32,
            beta2: self.beta2 as f32,
            share2: self.share2 as f32,
            correction: self.correction as f32,
            epsilon: self.epsilon as f32,
            rate: self.rate as f32,
        }
    }
}

impl From<&Hyperparameters> for Constants {
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
    fn from(parameters: &Hyperparameters) -> Self {
        let Hyperparameters { beta1, beta2, learning_rate, weight_decay, .. } = *parameters;
        let step = parameters.step as f64;
        let (shrink, coupled) = if parameters.decoupled {
            (1.0 - learning_rate * weight_decay, 0.0)
        } else {
            (1.0, weight_decay)
        };
        Self {
            scale: parameters.gradient_scale,
            shrink,
            coupled,
            share1: 1.0 - beta1,
            beta2,
            share2: 1.0 - beta2,
            correction: 1.0 / (1.0 - beta2.powf(step)).sqrt(),
            epsilon: parameters.epsilon,
            rate: learning_rate / (1.0 - beta1.powf(step)),
        }
    }
}

/// Updates a weight in place.
///
/// # Errors
///
/// candle's error when the device fails or the shapes differ.
pub fn update(
    weight: &Var,
    gradient: &Tensor,
    moments: [&Var; 2],
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    let constants = Constants::from(parameters);
    let [first, second] = moments;
    if fused::fits(weight, gradient, &[first, second]) {
        cpu::update(weight, gradient, [first, second], &constants)
    } else if let Some(gpu) = cuda::gpu_of(weight, gradient, [first, second]) {
        cuda::update(&gpu, weight, gradient, [first, second], &constants)
    } else {
        reference::update(weight, gradient, moments, &constants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use candle_core::{DType, Device};

    /// Bit for bit, over several steps, with both kinds of decay.
    #[test]
    fn fast_path_equals_reference() {
        for (decoupled, weight_decay) in [(true, 0.1), (false, 0.1), (true, 0.0)] {
            let mut stream = Rng::new(11, "test").at(0);
            let mut normal =
                || stream.normal_tensor((33, 1001), 0.0, 1.0, DType::F32, &Device::Cpu).unwrap();
            let start = [normal(), normal().zeros_like().unwrap(), normal().zeros_like().unwrap()];
            let [fast, expected] = [0, 1].map(|_| {
                start.each_ref().map(|tensor| Var::from_tensor(&tensor.copy().unwrap()).unwrap())
            });
            for step in 1..=20 {
                let gradient = normal();
                let parameters = Hyperparameters {
                    beta1: 0.9,
                    beta2: 0.999,
                    epsilon: 1e-8,
                    learning_rate: 1e-2,
                    weight_decay,
                    decoupled,
                    gradient_scale: 0.37,
                    step,
                };
                let constants = Constants::from(&parameters);
                cpu::update(&fast[0], &gradient, [&fast[1], &fast[2]], &constants).unwrap();
                reference::update(
                    &expected[0],
                    &gradient,
                    [&expected[1], &expected[2]],
                    &constants,
                )
                .unwrap();
            }
            for (fast, expected) in fast.iter().zip(&expected) {
                let bits = |tensor: &Tensor| -> Vec<u32> {
                    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                    values.into_iter().map(f32::to_bits).collect()
                };
                assert_eq!(bits(fast), bits(expected));
            }
        }
    }

    /// The reference takes a gradient that is not contiguous.
    #[test]
    fn a_transposed_gradient_gives_the_same_update() {
        let gradient = Tensor::new(&[[1f32, -2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let parameters = Hyperparameters {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            learning_rate: 0.1,
            weight_decay: 0.0,
            decoupled: true,
            gradient_scale: 1.0,
            step: 1,
        };
        let run = |gradient: &Tensor| {
            let [weight, first, second] =
                [0, 1, 2].map(|_| Var::zeros((2, 2), DType::F32, &Device::Cpu).unwrap());
            update(&weight, gradient, [&first, &second], &parameters).unwrap();
            weight.to_vec2::<f32>().unwrap()
        };
        let turned = gradient.t().unwrap();
        assert_eq!(run(&turned), run(&turned.contiguous().unwrap()));
    }
}
