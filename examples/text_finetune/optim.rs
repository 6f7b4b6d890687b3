//! The optimizers to choose from, and the learning rate over a run.

use candle_core::Var;
use candle_core::backprop::GradStore;
use candle_nn::optim::{AdamW, Optimizer as _, ParamsAdamW, SGD};
use cog_train::prelude::*;
use cog_train::{candle_core, candle_nn};

/// How to go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Method {
    Adam,
    Sgd,
    /// Adam, and a decay of the weights by 0.01 times the learning rate at each step.
    #[choice(rename = "adamw")]
    AdamW,
}

/// A method with its state.
pub enum Optimizer {
    Adam(AdamW),
    Sgd(SGD),
}

impl Optimizer {
    pub fn new(method: Method, variables: Vec<Var>) -> Result<Self> {
        let decay = |weight_decay| ParamsAdamW { weight_decay, ..ParamsAdamW::default() };
        Ok(match method {
            Method::Adam => Self::Adam(AdamW::new(variables, decay(0.0))?),
            Method::AdamW => Self::Adam(AdamW::new(variables, decay(0.01))?),
            Method::Sgd => Self::Sgd(SGD::new(variables, 0.0)?),
        })
    }

    pub fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<()> {
        match self {
            Self::Adam(optimizer) => {
                optimizer.set_learning_rate(learning_rate);
                optimizer.step(gradients)?;
            }
            Self::Sgd(optimizer) => {
                optimizer.set_learning_rate(learning_rate);
                optimizer.step(gradients)?;
            }
        }
        Ok(())
    }
}

/// The share of the peak learning rate at a step counted from 0: up over the first tenth of the run, then down in a
/// straight line, almost to 0 at the last step.
#[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
pub fn schedule(step: u64, steps: u64) -> f64 {
    let warm_up = (steps / 10).max(1);
    let rising = (step + 1) as f64 / warm_up as f64;
    let falling = (steps - step) as f64 / (steps - warm_up + 1) as f64;
    rising.min(falling).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn the_schedule_rises_to_one_and_falls_and_never_reaches_zero() {
        for steps in [1, 2, 9, 10, 100, 1234] {
            let rates: Vec<f64> = (0..steps).map(|step| schedule(step, steps)).collect();
            let top = rates.iter().position(|rate| (rate - 1.0).abs() < 1e-12).unwrap();
            assert!(rates[..=top].is_sorted() && rates[top..].is_sorted_by(|a, b| a >= b));
            assert!(rates.iter().all(|rate| *rate > 0.0), "{rates:?}");
        }
        assert!((schedule(4, 100) - 0.5).abs() < 1e-12);
    }

    /// One step from 2 on the loss `x * x`, whose gradient there is 4, by pen and paper: plain descent subtracts a tenth
    /// of it; Adam's first step is the learning rate itself; AdamW has shrunk 2 by a thousandth before.
    #[test]
    fn first_steps() {
        for (method, expected) in [(Method::Sgd, 1.6), (Method::Adam, 1.9), (Method::AdamW, 1.898)]
        {
            let x = Var::from_tensor(&Tensor::new(2f64, &Device::Cpu).unwrap()).unwrap();
            let mut optimizer = Optimizer::new(method, vec![x.clone()]).unwrap();
            let gradients = x.sqr().unwrap().backward().unwrap();
            optimizer.step(&gradients, 0.1).unwrap();
            let value = x.to_scalar::<f64>().unwrap();
            assert!((value - expected).abs() < 1e-6, "{method:?}: {value}");
        }
    }
}
