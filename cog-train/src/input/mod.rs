//! Inputs: the table that a derive emits, and the code that reads it to convert, check and describe values.
//!
//! This module knows no tensors, no files and no network.

mod convert;
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

pub use convert::{Choice, InputType, Item, Lookup};
pub use mask::Mask;
pub use output_type::{OutputField, OutputType};
pub use problems::{Problem, Problems};
pub use spec::{Kind, Literal, Number, Spec, Type};
pub(crate) use types::MASK;
pub use types::{Path, Secret};
pub(crate) use values::depth;
pub use values::{Checked, Entry, MAX_DEPTH, Origin, Unknown, Values, check};
