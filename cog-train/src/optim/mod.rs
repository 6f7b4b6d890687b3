//! Optimizers: rules with named state over named parameters.
//!
//! A [`Rule`] says how one parameter is updated; an [`Optimizer`] says which rule, weight decay and learning rate each
//! parameter has, and keeps the state by name, so that a checkpoint can hold it.
//!
//! The first step of each, at a learning rate of 0.1, from weights of 1 and gradients of 0.5:
//!
//! ```
//! use cog_train::candle_core::{DType, Device, Tensor};
//! use cog_train::optim::{Adafactor, Adam, AdamW, Lion, Muon, Optimizer, Sgd};
//! use cog_train::engine::{Gradients, Params};
//!
//! let ones = Tensor::ones((2, 2), DType::F32, &Device::Cpu)?;
//! for (mut optimizer, expected) in [
//!     (Optimizer::new(Sgd::default()), 0.95),       // the gradient
//!     (Optimizer::new(Adam::default()), 0.9),       // its sign, at the first step
//!     (Optimizer::new(AdamW::default()), 0.899),    // and a hundredth of a tenth of the weight
//!     (Optimizer::new(Lion::default()), 0.9),       // its sign, at every step
//!     (Optimizer::new(Adafactor::default()), 0.9),  // as Adam, in units of the weights' size
//!     (Optimizer::muon(Muon::default(), AdamW::default()), 0.955), // a matrix of norm 0.7, and a tenth of a tenth
//! ] {
//!     let params = Params::new([("layer.weight", ones.clone())])?;
//!     let gradients: Gradients = [("layer.weight".to_owned(), (&ones * 0.5)?)].into_iter().collect();
//!     optimizer.prepare(&params)?;
//!     optimizer.step(&params, &gradients, 1, 0.1, 1.0)?;
//!     let weight = params.masters()["layer.weight"].to_vec2::<f32>()?[0][0];
//!     assert!((weight - expected).abs() < 5e-4, "{}: {weight}", optimizer.describe());
//! }
//! # Ok::<(), cog_train::anyhow::Error>(())
//! ```

mod adafactor;
mod adamw;
mod adamw_8bit;
mod clip;
mod ema;
#[cfg(test)]
mod golden;
mod group;
mod limits;
mod lion;
mod muon;
mod optimizer;
mod rule;
pub mod schedule;
mod sgd;
mod state;
#[cfg(test)]
mod tests;

pub use adafactor::Adafactor;
pub use adamw::{Adam, AdamW};
pub use adamw_8bit::AdamW8bit;
pub use clip::{Clip, norm};
pub use ema::Ema;
pub use group::Group;
pub(crate) use limits::{Limits, Range};
pub use lion::Lion;
pub use muon::{Adjust, Muon};
pub use optimizer::Optimizer;
pub use rule::{Rule, Update};
pub use sgd::Sgd;
pub(crate) use state::{Slot, check as check_state};
