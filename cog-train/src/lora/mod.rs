//! Low-rank adapters in PEFT's format (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021).
//!
//! An [`Adapter`] adds small trained matrices to chosen layers of a model, and leaves the base as it is. The model's code
//! knows nothing of it: [`Init`](crate::nn::Init) carries the branches by the layers' paths.
//!
//! ```
//! use cog_train::candle_core::{Device, Error, Tensor};
//! use cog_train::lora::{LoraConfig, Modules};
//! use cog_train::nn::{Init, Linear, Rng};
//!
//! struct Net {
//!     q_proj: Linear,
//!     v_proj: Linear,
//! }
//!
//! impl Net {
//!     fn new(init: &Init) -> Result<Self, Error> {
//!         Ok(Self { q_proj: Linear::new(&init.at("q_proj"), 8, 8)?, v_proj: Linear::new(&init.at("v_proj"), 8, 8)? })
//!     }
//! }
//!
//! let base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(Net::new)?; // a pretrained model's
//!
//! let adapter = LoraConfig::new(4).alpha(8.0).targets(Modules::named(["q_proj"])).on(Net::new)?;
//! let params = adapter.draw_params(base, Rng::new(42, "lora"))?; // the base is frozen
//! let net = adapter.init(params.tensors()).build(Net::new)?;
//! assert_eq!((params.trainable_count(), params.count()), (2 * 4 * 8, 2 * 72 + 2 * 4 * 8));
//!
//! # let dir = tempfile::tempdir()?;
//! # let folder = dir.path().join("adapter");
//! adapter.save(&folder, &params.masters())?; // what `PeftModel.from_pretrained(base, folder)` loads
//! assert_eq!(adapter.load(&folder)?.len(), 2);
//! # Ok::<(), cog_train::anyhow::Error>(())
//! ```

mod adapter;
mod config;
mod draw;
mod files;
mod gguf;
mod merge;
mod peft;
mod rules;
mod select;
#[cfg(test)]
mod tests;
mod tuning;

pub use adapter::Adapter;
pub use config::{Bias, InitialValues, LoraConfig, Modules};
pub use merge::{Difference, Merged};
pub use tuning::Tuning;
