//! Text: tokenizers, chat templates, formats of rows, examples with the tokens that are trained, packing and batches.
//!
//! A [`Tokenizer`] and a [`ChatTemplate`] are opened from a Hugging Face folder and give the ids that `transformers` gives.

mod files;
mod special;
mod template;
mod tokenizer;

pub use special::SpecialTokens;
pub use template::{Chat, ChatTemplate, EncodedChat, Ending, Rendered};
pub use tokenizer::{TextStream, Tokenizer};
