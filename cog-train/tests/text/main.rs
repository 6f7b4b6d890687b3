//! `cog_train::text` beside `transformers`: the same ids, texts and masks.

mod examples;
mod files;
mod folders;
mod gguf;
mod golden;
mod packing;
mod preferences;
