//! Training rows: where they are read from, in which order they come, how they become batches.
//!
//! A [`Dataset`] is rows that can be read in any order; a reader's `open` looks at all of them before the first step. A
//! [`Sampler`] says which rows are in which batch, as a pure function of seed and epoch. A [`Loader`] joins the two with
//! a collate function, and its [`Batches`] bring ready steps from threads that read ahead. A [`Position`] is all that a
//! checkpoint has to keep.

mod batch;
mod batches;
mod csv;
mod cursor;
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
mod rows;
mod sampler;
mod source;
mod split;
mod text;

pub use batch::{Part, Step};
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
pub use source::Collate;
pub use split::{Split, split};
pub use text::{TextLines, TextWindows};
