//! Text: tokenizers, chat templates, formats of rows, examples with the tokens that are trained, packing and batches. The feature
//! `text` has it.
//!
//! A [`Tokenizer`] and a [`ChatTemplate`] are opened from a Hugging Face folder and give the ids that `transformers` gives.
//! [`TextRows`] reads a file in one of the usual formats, an [`ExampleBuilder`] makes [`Examples`] of its rows, and [`Packs`] fit
//! short ones into one row. A [`TextBatch`] has the tensors of a step, and a [`Report`] says what is in the data before the first.

mod batch;
mod builder;
mod example;
mod examples;
mod files;
mod formats;
mod llama;
mod packing;
mod report;
mod special;
mod template;
mod tokenizer;
mod turns;

pub use batch::{EncoderBatch, TextBatch};
pub use builder::{ExampleBuilder, Preference};
pub use example::{Example, Truncation};
pub use examples::{Counts, Examples};
pub use formats::{Content, Format, Label, Row, TextRows};
pub use packing::{Packs, pack};
pub use report::{Report, Summary};
pub use special::SpecialTokens;
pub use template::{Chat, ChatTemplate, EncodedChat, Ending, Rendered};
pub use tokenizer::{TextStream, Tokenizer};
pub use turns::Turns;
