//! Training data: datasets, the order of their rows, and batches.
//!
//! A [`Dataset`] has rows that can be read in any order; a reader's `open` validates all of them before the first step. A
//! [`Sampler`] assigns rows to batches, as a pure function of seed and epoch. A [`Loader`] joins the two with a collate
//! function, and its [`Batches`] are prefetched by threads. A [`Position`] is all that a checkpoint keeps of them.

mod batch;
mod batches;
mod csv;
mod cursor;
mod dataset;
#[cfg(feature = "images")]
mod folder;
mod hash;
mod hashed_file;
mod histogram;
#[cfg(feature = "images")]
mod image;
mod index;
#[cfg(feature = "images")]
mod jpeg;
mod jsonl;
mod lines;
mod loader;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod problems;
mod rows;
mod sampler;
mod shard;
mod source;
mod split;
mod text;

pub use batch::{Batch, MicroBatch};
pub use batches::Batches;
pub use csv::Csv;
pub use dataset::{Dataset, Mapped, Subset, WithTokens};
#[cfg(feature = "images")]
pub use folder::ImageFolder;
pub use histogram::lines as histogram;
#[cfg(feature = "images")]
pub use image::Image;
pub use jsonl::Jsonl;
pub use loader::Loader;
pub use packed::{only_file, unpacked};
#[cfg(feature = "parquet")]
pub use parquet::Parquet;
pub use rows::Rows;
pub use sampler::{Batching, Epoch, Position, Sampler};
pub(crate) use shard::{Shard, slots};
pub use source::Collate;
pub use split::{Split, split};
pub use text::{TextLines, TextWindows};
