//! Pretrained models of Hugging Face's families, on the layers of [`nn`](crate::nn).
//!
//! [`Pretrained`] opens a model's folder: `config.json`, and safetensors in one file or several; or a GGUF file of llama.cpp. A model is built from
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
//! | `gpt2` | GPT-2 |
//! | `bert` | BERT, MiniLM |
//! | `roberta`, `xlm-roberta` | RoBERTa, XLM-RoBERTa |
//! | `distilbert` | DistilBERT |
//! | `modernbert` | ModernBERT |
//! | `vit` | Vision Transformer |
//!
//! `config.json` is read strictly: a key that would change the result and is not supported is an error that names it.
//!
//! The dropout of a configuration, of attention weights too, is applied within [`nn::training`](crate::nn::training), which
//! [`fit`](crate::engine::fit()) opens for each step, and nowhere else: the same seed drops the same elements, also in a resumed
//! run and under activation checkpointing.

mod adapter_base;
mod bert;
mod bitsandbytes;
mod body;
mod cache;
mod causal_lm;
mod config;
mod contrastive;
mod decoder;
mod dropout;
mod embedder;
mod encoder;
mod generate;
mod gguf;
mod gpt2;
mod head;
mod heads;
mod image_classifier;
mod keys;
mod labels;
mod layers;
mod masked_lm;
mod modernbert;
mod names;
mod pooling;
mod preference;
mod pretrained;
mod report;
mod rope;
mod save;
mod sequence_classifier;
mod source;
mod targets;
mod token_classifier;
mod tokens;
mod unpadded;
mod vit;

pub use causal_lm::CausalLm;
pub use config::Config;
pub use contrastive::{contrastive_loss, cosine_similarity};
pub use embedder::TextEmbedder;
pub use generate::{Finish, Generated, Generation, GenerationConfig};
pub(crate) use gguf::{Conversion as GgufConversion, bytes as gguf_bytes, reordered};
pub use head::{Head, Loaded};
pub use image_classifier::ImageClassifier;
pub use labels::{Labels, ProblemType};
pub use masked_lm::MaskedLm;
pub use pooling::{Pooling, PoolingMode};
pub use preference::{AnswerLogProbs, PreferenceBatch, PreferenceLoss, dpo_loss, orpo_loss};
pub use pretrained::Pretrained;
pub use sequence_classifier::SequenceClassifier;
pub use targets::Targets;
pub use token_classifier::TokenClassifier;
pub use tokens::Tokens;
