//! Inputs: the table that a derive emits, and the code that reads it to convert, check and describe values.
//!
//! This module knows no tensors, no files and no network.

mod check;
mod convert;
mod depth;
mod mask;
mod number;
mod output_type;
mod problems;
mod rules;
pub mod schema;
mod spec;
mod types;
mod values;
pub(crate) mod verify;

pub use check::{Checked, Unknown, check};
pub use convert::{Choice, InputType, Item, Lookup};
pub use depth::MAX_DEPTH;
pub(crate) use depth::depth;
pub use mask::Mask;
pub use output_type::{OutputField, OutputType};
pub use problems::{Problem, Problems};
pub use spec::{Kind, Literal, Number, Spec, Type};
pub(crate) use types::MASK;
pub use types::{Path, Secret};
pub use values::{Entry, Origin, Values};
