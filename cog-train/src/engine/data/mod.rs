//! Training rows: where they are read from, in which order they come, how they become batches.
//!
//! A [`Dataset`] is rows that can be read in any order; a reader's `open` looks at all of them before the first step. A
//! [`Sampler`] says which rows are in which batch, as a pure function of seed and epoch. A [`Loader`] joins the two with
//! a collate function, and its [`Batches`] bring ready steps from threads that read ahead. A [`Position`] is all that a
//! checkpoint has to keep.

mod adapt;
mod batches;
mod csv;
mod dataset;
#[cfg(feature = "images")]
mod folder;
mod hash;
mod held;
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
mod sampler;
mod source;
mod text;

pub use adapt::{Mapped, Split, Subset, WithTokens, split};
pub use batches::{Batches, Part, Step};
pub use csv::Csv;
pub use dataset::{Dataset, Rows};
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
pub use sampler::{Batching, Epoch, Position, Sampler};
pub use source::Collate;
pub use text::{TextLines, TextWindows};
