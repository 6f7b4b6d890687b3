//! The files of a tokenizer: those of a Hugging Face folder, and the metadata of a GGUF file. Each is made of the other.
//!
//! It reads and writes JSON, and runs no tokenizer: models are saved with theirs also without the feature `text`.

mod copy;
mod declared;
mod gguf;
mod llama;
mod read;
mod templates;

pub(crate) use copy::copy;
pub(crate) use gguf::{metadata, save};
#[cfg(feature = "text")]
pub(crate) use {
    declared::Declared,
    gguf::{Stored, stored},
    llama::rebuild,
    read::{read, read_object, stop_ids},
    templates::DEFAULT,
};

/// Reads the chat templates of a folder or of a GGUF file, by name.
///
/// # Errors
///
/// [`Error::Tokenizer`](crate::Error::Tokenizer) or [`Error::File`](crate::Error::File); those of
/// [`Gguf::open`](crate::gguf::Gguf::open).
#[cfg(feature = "text")]
pub(crate) fn templates(
    path: &std::path::Path,
) -> Result<Vec<(String, String)>, crate::error::Error> {
    if path.is_file() {
        let file = crate::gguf::Gguf::open(path)?;
        return Ok(gguf::templates(&file));
    }
    templates::of_folder(path)
}
