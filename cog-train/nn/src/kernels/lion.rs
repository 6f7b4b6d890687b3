//! Lion in one pass over memory: a step of one size for every weight, in the direction of the momentum's sign.
//!
//! With the gradient `g` already scaled (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, program 1):
//!
//! ```text
//! w <- w - lr * (sign(beta1 * m + (1 - beta1) * g) + decay * w)
//! m <- beta2 * m + (1 - beta2) * g
//! ```

use candle_core::{Error, Tensor, Var};

use super::fused;

/// The hyperparameters of one update.
#[derive(Debug, Clone, Copy)]
pub struct Hyperparameters {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Step size.
    pub learning_rate: f64,
    /// Share of the weight that is subtracted, in units of the learning rate.
    pub weight_decay: f64,
    /// Factor of every gradient.
    pub gradient_scale: f64,
}

/// Updates a weight in place.
///
/// # Errors
///
/// candle's error when the device fails or the shapes differ.
pub fn update(
    weight: &Var,
    gradient: &Tensor,
    average: &Var,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    if fused::fits(weight, gradient, &[average]) {
        cpu(weight, gradient, average, parameters)
    } else {
        reference(weight, gradient, average, parameters)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
fn cpu(
    weight: &Tensor,
    gradient: &Tensor,
    average: &Tensor,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    let scale = parameters.gradient_scale as f32;
    let (beta1, share1) = (parameters.beta1 as f32, (1.0 - parameters.beta1) as f32);
    let (beta2, share2) = (parameters.beta2 as f32, (1.0 - parameters.beta2) as f32);
    let shrink = (1.0 - parameters.learning_rate * parameters.weight_decay) as f32;
    let rate = parameters.learning_rate as f32;
    fused::each([weight, average], gradient, |[w, m], g| {
        let g = g * scale;
        let direction = m * beta1 + g * share1;
        // Not `signum`, which is 1 at 0.
        let sign = f32::from(direction > 0.0) - f32::from(direction < 0.0);
        [w * shrink - sign * rate, m * beta2 + g * share2]
    })
}

/// The reference: every device.
fn reference(
    weight: &Var,
    gradient: &Tensor,
    average: &Var,
    parameters: &Hyperparameters,
) -> Result<(), Error> {
    let gradient = (gradient * parameters.gradient_scale)?;
    let direction =
        ((average.as_tensor() * parameters.beta1)? + (&gradient * (1.0 - parameters.beta1))?)?;
    let shrink = 1.0 - parameters.learning_rate * parameters.weight_decay;
    let change = (direction.sign()? * parameters.learning_rate)?;
    weight.set(&((weight.as_tensor() * shrink)? - change)?)?;
    let decayed = (average.as_tensor() * parameters.beta2)?;
    average.set(&(decayed + (gradient * (1.0 - parameters.beta2))?)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use candle_core::{DType, Device};

    /// Also where the gradient is exactly 0: there the weight only decays.
    #[test]
    fn fast_path_equals_reference() {
        let mut stream = Rng::new(6, "test").at(0);
        let mut normal =
            || stream.normal_tensor((9, 2003), 0.0, 1.0, DType::F32, &Device::Cpu).unwrap();
        let start = normal();
        let var = |tensor: &Tensor| Var::from_tensor(&tensor.copy().unwrap()).unwrap();
        let [fast, expected] = [0, 1].map(|_| [var(&start), var(&start.zeros_like().unwrap())]);
        for step in 0..10 {
            let gradient = if step == 0 { start.zeros_like().unwrap() } else { normal() };
            let parameters = Hyperparameters {
                beta1: 0.9,
                beta2: 0.99,
                learning_rate: 0.01,
                weight_decay: 0.3,
                gradient_scale: 0.5,
            };
            cpu(&fast[0], &gradient, &fast[1], &parameters).unwrap();
            reference(&expected[0], &gradient, &expected[1], &parameters).unwrap();
        }
        for (fast, expected) in fast.iter().zip(&expected) {
            assert_eq!(fast.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap());
        }
    }
}
