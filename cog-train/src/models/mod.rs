//! Pretrained models of Hugging Face's families, on the layers of [`nn`](crate::nn).
//!
//! [`Pretrained`] opens a model's folder: `config.json`, and safetensors in one file or several. A model is built from
//! its tensors, which have the names that transformers gives them, and what is saved opens there again.
//!
//! ```no_run
//! use cog_train::candle_core::Device;
//! use cog_train::engine::Params;
//! use cog_train::models::{CausalLm, Pretrained, Targets, Tokens};
//! use cog_train::nn::Init;
//!
//! # let device = Device::Cpu;
//! let base = Pretrained::open("smollm2-135m")?; // nothing is loaded yet
//! let params = Params::new(base.tensors(&device)?)?;
//! let model = Init::from_tensors(params.tensors()).build(|init| CausalLm::new(init, base.config()))?;
//!
//! let rows = [vec![1, 2, 3], vec![4, 5]];
//! let (tokens, targets) = (Tokens::padded(&rows, 0, &device)?, Targets::of_labels(&rows, &device)?);
//! let sum = model.loss(&tokens, &targets)?; // of the cross-entropy, over all targets
//! # drop(sum);
//! base.save("out", params.masters())?; // what `AutoModelForCausalLM.from_pretrained` opens
//! # Ok::<(), cog_train::Error>(())
//! ```
//!
//! | `model_type` | family |
//! |---|---|
//! | `llama` | Llama 1 to 3, TinyLlama, SmolLM2 |
//! | `mistral` | Mistral |
//! | `qwen2`, `qwen3` | Qwen 2, 2.5 and 3 |
//! | `smollm3` | SmolLM3 |
//! | `phi3` | Phi-3 |
//! | `gemma`, `gemma2`, `gemma3_text` | Gemma 1 to 3, text |
//!
//! `config.json` is read strictly: a key that would change the result and is not supported is an error that names it.

mod body;
mod cache;
mod causal_lm;
mod config;
mod decoder;
mod generate;
mod keys;
mod names;
mod pretrained;
mod report;
mod rope;
mod save;
mod tokens;

pub use causal_lm::CausalLm;
pub use config::Config;
pub use generate::{Finish, Generated, Generation};
pub use pretrained::Pretrained;
pub use tokens::{Targets, Tokens};
