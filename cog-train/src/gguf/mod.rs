//! The GGUF format, in which llama.cpp and Ollama keep a model in one file: metadata, then tensors, often quantised.
//!
//! [`Gguf`] opens a file of version 2 or 3, checks it as untrusted input and reads tensors by name; [`save`] writes one. Of a file
//! with a language model, [`Pretrained`](crate::models::Pretrained) makes its configuration and its tensors.
//!
//! ```
//! use cog_train::gguf::{self, Entry, Gguf, Metadata, TensorType, Value};
//!
//! # let dir = tempfile::tempdir()?;
//! # let file = dir.path().join("model.gguf");
//! let mut metadata = Metadata::new();
//! metadata.insert("general.architecture", "llama");
//! metadata.insert("llama.block_count", 2_u32);
//! let entries = [Entry::new("output_norm.weight", TensorType::F32, [2])];
//! gguf::save(&file, &metadata, &entries, |_| Ok([1_f32, 0.5].iter().flat_map(|it| it.to_le_bytes()).collect()))?;
//!
//! let model = Gguf::open(&file)?;
//! assert_eq!(model.metadata().get("llama.block_count"), Some(&Value::U32(2)));
//! let norm = model.tensor("output_norm.weight").expect("it was written");
//! assert_eq!((norm.kind(), norm.shape()), (TensorType::F32, &[2][..]));
//! assert_eq!(model.read("output_norm.weight")?[..4], 1_f32.to_le_bytes());
//! # Ok::<(), cog_train::anyhow::Error>(())
//! ```
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod file;
mod header;
mod metadata;
mod save;
mod source;
mod tensor;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use file::Gguf;
pub use metadata::Metadata;
pub use save::{Entry, save};
pub use tensor::TensorInfo;
pub use types::TensorType;
pub use value::{Array, Value};

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written.
const VERSION: u32 = 3;
/// The key of the alignment of tensors.
const ALIGNMENT: &str = "general.alignment";
/// The alignment where no key says otherwise.
const DEFAULT_ALIGNMENT: u32 = 32;
/// The most dimensions of a tensor.
const DIMENSIONS: usize = 4;
/// The most bytes of a tensor's name.
const NAME_BYTES: usize = 64;
/// The most bytes of a key.
const KEY_BYTES: usize = 65_535;
