//! Lion: steps of one size.

use candle_core::{Tensor, Var};
use serde::Serialize;

use super::limits::{Limits, Range};
use super::rule::{Rule, Update, exactly, settings};
use crate::error::Error;
use cog_train_nn::__private::lion;

/// Steps of one size in the direction of the momentum's sign, with half of Adam's state (Chen et al., "Symbolic Discovery
/// of Optimization Algorithms", 2023).
///
/// The paper takes a learning rate 3 to 10 times smaller than for AdamW, and a weight decay larger by as much.
///
/// ```
/// use cog_train::optim::{Lion, Optimizer};
///
/// let optimizer = Optimizer::new(Lion { weight_decay: 0.1, ..Lion::default() });
/// assert_eq!(optimizer.describe()["rule"]["weight_decay"], 0.1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lion {
    /// The share of the momentum in the direction.
    pub beta1: f64,
    /// The decay of the momentum.
    pub beta2: f64,
    /// Each step takes this share, times the learning rate, of the weight.
    pub weight_decay: f64,
}

impl Default for Lion {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, weight_decay: 0.0 }
    }
}

impl Rule for Lion {
    fn name(&self) -> &'static str {
        "lion"
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        vec![("exp_avg", dims.to_vec())]
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
        let [average] = exactly(slots)?;
        let hyperparameters = lion::Hyperparameters {
            beta1: self.beta1,
            beta2: self.beta2,
            learning_rate: at.learning_rate,
            weight_decay: at.weight_decay,
            gradient_scale: at.gradient_scale,
        };
        Ok(lion::update(weight, gradient, average, &hyperparameters)?)
    }

    fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        limits.number("lion.beta1", self.beta1, Range::Decay);
        limits.number("lion.beta2", self.beta2, Range::Decay);
        limits.number("lion.weight_decay", self.weight_decay, Range::NotNegative);
        limits.finish()
    }

    fn describe(&self) -> serde_json::Value {
        settings(self.name(), self)
    }
}
