//! Gradient descent with momentum.

use candle_core::{Tensor, Var};
use serde::Serialize;

use super::limits::{Limits, Range};
use super::rule::{Rule, Update, settings};
use crate::error::Error;
use cog_train_nn::__private::sgd;

/// Gradient descent, with momentum, Nesterov's momentum and L2 decay: `torch.optim.SGD`.
///
/// The first step takes the gradient itself as momentum; a parameter whose first gradient comes later has its momentum
/// dampened then too, where PyTorch does not.
///
/// ```
/// use cog_train::optim::{Sgd, Optimizer};
///
/// let optimizer = Optimizer::new(Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() });
/// assert_eq!(optimizer.describe()["rule"]["momentum"], 0.9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Sgd {
    /// The share of the last change that is kept: 0 for none, usually 0.9.
    pub momentum: f64,
    /// The share of a gradient that does not go into the momentum.
    pub dampening: f64,
    /// Looks ahead along the momentum.
    pub nesterov: bool,
    /// Added to the gradient as this share of the weight.
    pub weight_decay: f64,
}

impl Rule for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        if self.momentum == 0.0 { Vec::new() } else { vec![("momentum_buffer", dims.to_vec())] }
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn update(
        &self,
        weight: &Var,
        gradient: &Tensor,
        slots: &[Var],
        at: &Update,
    ) -> Result<(), Error> {
        let hyperparameters = sgd::Hyperparameters {
            learning_rate: at.learning_rate,
            momentum: self.momentum,
            share: if at.step == 1 { 1.0 } else { 1.0 - self.dampening },
            nesterov: self.nesterov,
            weight_decay: at.weight_decay,
            gradient_scale: at.gradient_scale,
        };
        Ok(sgd::update(weight, gradient, slots.first(), &hyperparameters)?)
    }

    fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        limits.number("sgd.momentum", self.momentum, Range::Decay);
        limits.number("sgd.dampening", self.dampening, Range::Share);
        limits.number("sgd.weight_decay", self.weight_decay, Range::NotNegative);
        limits.require(!self.nesterov || self.momentum != 0.0, || {
            "`sgd.nesterov` is true and `sgd.momentum` is 0: there is no momentum to look ahead along".to_owned()
        });
        limits.finish()
    }

    fn describe(&self) -> serde_json::Value {
        settings(self.name(), self)
    }
}
