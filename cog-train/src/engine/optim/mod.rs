//! Optimizers: rules with named state over named parameters.
//!
//! A [`Rule`] says how one parameter is updated; an [`Optimizer`] says which rule, weight decay and learning rate each
//! parameter has, and keeps the state by name, so that a checkpoint can hold it.

mod adafactor;
mod adamw;
mod clip;
mod ema;
#[cfg(test)]
mod golden;
mod group;
mod lion;
mod muon;
mod optimizer;
mod rule;
mod sgd;
mod state;
#[cfg(test)]
mod tests;

pub use adafactor::Adafactor;
pub use adamw::{Adam, AdamW};
pub use clip::{Clip, norm};
pub use ema::Ema;
pub use group::Group;
pub use lion::Lion;
pub use muon::{Adjust, Muon};
pub use optimizer::Optimizer;
pub use rule::{Rule, Update};
pub use sgd::Sgd;
