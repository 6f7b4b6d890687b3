//! Adam, and Adam with decoupled weight decay.

use candle_core::{Tensor, Var};
use serde::Serialize;

use super::limits::{Limits, Range};
use super::rule::{Rule, Update, exactly, settings};
use crate::error::Error;
use cog_train_nn::__private::adamw;

/// Adam whose weight decay shrinks the weights themselves: `torch.optim.AdamW` (Loshchilov and Hutter, "Decoupled Weight
/// Decay Regularization", 2019).
///
/// ```
/// use cog_train::optim::{AdamW, Optimizer};
///
/// let optimizer = Optimizer::new(AdamW { beta2: 0.95, weight_decay: 0.1, ..AdamW::default() });
/// assert_eq!(optimizer.describe()["rule"]["beta2"], 0.95);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AdamW {
    /// The decay of the mean of the gradients.
    pub beta1: f64,
    /// The decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the divisor.
    pub epsilon: f64,
    /// Each step takes this share, times the learning rate, of the weight.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// Adam with the weight decay in the gradient: `torch.optim.Adam` (Kingma and Ba, "Adam", 2015).
///
/// ```
/// use cog_train::optim::{Adam, Optimizer};
///
/// let optimizer = Optimizer::new(Adam { epsilon: 1e-6, ..Adam::default() });
/// assert_eq!(optimizer.describe()["rule"]["epsilon"], 1e-6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Adam {
    /// The decay of the mean of the gradients.
    pub beta1: f64,
    /// The decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the divisor.
    pub epsilon: f64,
    /// Added to the gradient as this share of the weight.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Implements [`Rule`] for the two structs of Adam's settings, which have the same fields.
macro_rules! adam_rule {
    ($rule:ident, $name:literal, decoupled: $decoupled:literal) => {
        impl $rule {
            /// Returns the hyperparameters of an update.
            pub(super) fn hyperparameters(&self, at: &Update) -> adamw::Hyperparameters {
                adamw::Hyperparameters {
                    beta1: self.beta1,
                    beta2: self.beta2,
                    epsilon: self.epsilon,
                    learning_rate: at.learning_rate,
                    weight_decay: at.weight_decay,
                    decoupled: $decoupled,
                    gradient_scale: at.gradient_scale,
                    step: at.step,
                }
            }
        }

        impl Rule for $rule {
            fn name(&self) -> &'static str {
                $name
            }

            fn weight_decay(&self) -> f64 {
                self.weight_decay
            }

            fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
                vec![("exp_avg", dims.to_vec()), ("exp_avg_sq", dims.to_vec())]
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
                let hyperparameters = self.hyperparameters(at);
                Ok(adamw::update(weight, gradient, exactly(slots)?, &hyperparameters)?)
            }

            fn check(&self) -> Result<(), Error> {
                let mut limits = Limits::default();
                limits.number(concat!($name, ".beta1"), self.beta1, Range::Decay);
                limits.number(concat!($name, ".beta2"), self.beta2, Range::Decay);
                limits.number(concat!($name, ".epsilon"), self.epsilon, Range::NotNegative);
                limits.number(
                    concat!($name, ".weight_decay"),
                    self.weight_decay,
                    Range::NotNegative,
                );
                limits.finish()
            }

            fn describe(&self) -> serde_json::Value {
                settings(self.name(), self)
            }
        }
    };
}

adam_rule!(AdamW, "adamw", decoupled: true);
adam_rule!(Adam, "adam", decoupled: false);
