//! The optimizers to choose from.

use cog_train::optim::{Adam, AdamW, Optimizer, Sgd};
use cog_train::prelude::*;

/// An optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Method {
    Adam,
    Sgd,
    /// Adam with decoupled weight decay: 0.01 times the learning rate at each step.
    #[choice(rename = "adamw")]
    AdamW,
}

impl Method {
    pub fn optimizer(self) -> Optimizer {
        match self {
            Self::Adam => Optimizer::new(Adam::default()),
            Self::Sgd => Optimizer::new(Sgd::default()),
            Self::AdamW => Optimizer::new(AdamW::default()),
        }
    }
}
