//! `cog_train::text` beside `transformers`: the same ids, texts and masks.

mod folders;
mod golden;
