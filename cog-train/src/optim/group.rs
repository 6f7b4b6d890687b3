//! Groups of parameters with settings of their own.

use std::sync::Arc;

use super::rule::Rule;

/// The settings of a group of parameters; those that are not set are the optimizer's.
///
/// ```
/// use cog_train::optim::{AdamW, Group, Optimizer};
///
/// let optimizer = Optimizer::new(AdamW::default())
///     .group("*embed*", Group::new().weight_decay(0.0))
///     .group("head.*", Group::new().learning_rate(10.0));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub(super) weight_decay: Option<f64>,
    pub(super) learning_rate: Option<f64>,
    pub(super) rule: Option<Arc<dyn Rule>>,
}

impl Group {
    /// As the rest.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A weight decay of its own, also for norms and biases: the share of a weight that a step takes, per unit of
    /// learning rate (AdamW, Lion, Muon), or that is added to its gradient (SGD, Adam).
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = Some(weight_decay);
        self
    }

    /// Multiplies the learning rate by `factor`, which has no unit: 0.1 is a tenth of the config's, at each step.
    #[must_use]
    pub fn learning_rate(mut self, factor: f64) -> Self {
        self.learning_rate = Some(factor);
        self
    }

    /// A rule of its own.
    #[must_use]
    pub fn rule(mut self, rule: impl Rule + 'static) -> Self {
        self.rule = Some(Arc::new(rule));
        self
    }

    pub(super) fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "weight_decay": self.weight_decay,
            "learning_rate": self.learning_rate,
            "rule": self.rule.as_ref().map(|rule| rule.describe()),
        })
    }
}
