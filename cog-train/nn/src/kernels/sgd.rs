//! Gradient descent, with or without momentum, in one pass over memory.
//!
//! With the gradient `g` already scaled and the momentum's buffer `b` (Sutskever et al., "On the importance of
//! initialization and momentum in deep learning", 2013, in PyTorch's form):
//!
//! ```text
//! g <- g + decay * w
//! b <- momentum * b + (1 - dampening) * g      at the first step: b <- g
//! w <- w - lr * b                              nesterov: w - lr * (g + momentum * b)
//! ```

use candle_core::{Error, Tensor, Var};

use super::fused;

/// The hyperparameters of one update.
#[derive(Debug, Clone, Copy)]
pub struct Hyperparameters {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the velocity.
    pub momentum: f64,
    /// 1 - dampening, and 1 at the first step.
    pub share: f64,
    /// Whether the velocity looks one step ahead.
    pub nesterov: bool,
    /// Share of the weight that is subtracted, in units of the learning rate.
    pub weight_decay: f64,
    /// Factor of every gradient.
    pub gradient_scale: f64,
}

/// Updates a weight in place; without a buffer there is no momentum.
///
/// # Errors
///
/// candle's error when the device fails or the shapes differ.
pub fn update(
    weight: &Var,
    gradient: &Tensor,
    buffer: Option<&Var>,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    match buffer {
        Some(buffer) if fused::fits(weight, gradient, &[buffer]) => {
            with_momentum(weight, gradient, buffer, parameters)
        }
        None if fused::fits(weight, gradient, &[]) => without(weight, gradient, parameters),
        _ => reference(weight, gradient, buffer, parameters),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
fn with_momentum(
    weight: &Tensor,
    gradient: &Tensor,
    buffer: &Tensor,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    let (scale, decay) = (parameters.gradient_scale as f32, parameters.weight_decay as f32);
    let (momentum, share) = (parameters.momentum as f32, parameters.share as f32);
    let rate = parameters.learning_rate as f32;
    // The change is `b * of_buffer + g * of_gradient`: factors in place of a condition keep the loop without branches.
    let (of_buffer, of_gradient) = if parameters.nesterov { (momentum, 1.0) } else { (1.0, 0.0) };
    fused::each([weight, buffer], gradient, |[w, b], g| {
        let g = g * scale + w * decay;
        let b = b * momentum + g * share;
        [w - (b * of_buffer + g * of_gradient) * rate, b]
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
fn without(weight: &Tensor, gradient: &Tensor, parameters: &Hyperparameters) -> Result<(), Error> {
    let (scale, decay) = (parameters.gradient_scale as f32, parameters.weight_decay as f32);
    let rate = parameters.learning_rate as f32;
    fused::each([weight], gradient, |[w], g| [w - (g * scale + w * decay) * rate])
}

/// The reference: every device.
fn reference(
    weight: &Var,
    gradient: &Tensor,
    buffer: Option<&Var>,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    let mut change = ((gradient * parameters.gradient_scale)?
        + (weight.as_tensor() * parameters.weight_decay)?)?;
    if let Some(buffer) = buffer {
        buffer
            .set(&((buffer.as_tensor() * parameters.momentum)? + (&change * parameters.share)?)?)?;
        change = if parameters.nesterov {
            ((buffer.as_tensor() * parameters.momentum)? + change)?
        } else {
            buffer.as_detached_tensor()
        };
    }
    weight.set(&(weight.as_tensor() - (change * parameters.learning_rate)?)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use candle_core::{DType, Device};

    #[test]
    fn fast_path_equals_reference() {
        for (momentum, nesterov) in [(None, false), (Some(0.9), false), (Some(0.9), true)] {
            let mut stream = Rng::new(5, "test").at(0);
            let mut normal =
                || stream.normal_tensor((9, 2003), 0.0, 1.0, DType::F32, &Device::Cpu).unwrap();
            let start = normal();
            let var = |tensor: &Tensor| Var::from_tensor(&tensor.copy().unwrap()).unwrap();
            let (fast, expected) = (var(&start), var(&start));
            let zeros = start.zeros_like().unwrap();
            let (fast_buffer, expected_buffer) =
                (momentum.map(|_| var(&zeros)), momentum.map(|_| var(&zeros)));
            for step in 0..10 {
                let gradient = normal();
                let parameters = Hyperparameters {
                    learning_rate: 0.1,
                    momentum: momentum.unwrap_or_default(),
                    share: if step == 0 { 1.0 } else { 0.7 },
                    nesterov,
                    weight_decay: 0.05,
                    gradient_scale: 0.3,
                };
                update(&fast, &gradient, fast_buffer.as_ref(), &parameters).unwrap();
                reference(&expected, &gradient, expected_buffer.as_ref(), &parameters).unwrap();
            }
            assert_eq!(fast.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap());
        }
    }
}
