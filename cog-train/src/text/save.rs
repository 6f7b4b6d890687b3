//! The files of a tokenizer, beside those of a model that was trained with it.

use std::fs;
use std::path::Path;

use super::tokenizer::Tokenizer;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::tokenizer_files;

/// The files that `transformers` opens a tokenizer from.
const FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
];
/// The folder of further chat templates.
const TEMPLATES: &str = "additional_chat_templates";

impl Tokenizer {
    /// Copies the tokenizer's files and the chat templates beside them into a folder, as PEFT's users expect them in that of an
    /// adapter. Of a GGUF file, they are made of its metadata.
    ///
    /// ```
    /// use cog_train::text::Tokenizer;
    ///
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/pieces");
    /// # let dir = tempfile::tempdir()?;
    /// let tokenizer = Tokenizer::open(folder)?;
    /// tokenizer.save(dir.path())?;
    /// assert_eq!(Tokenizer::open(dir.path())?.encode("The answer")?, tokenizer.encode("The answer")?);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::File`]; of a GGUF file those of [`Tokenizer::open`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let (from, to) = (self.path().parent().unwrap_or(Path::new(".")), folder.as_ref());
        fs::create_dir_all(to).map_err(Error::file("create", to))?;
        if self.is_of_gguf() {
            return tokenizer_files::save(&Gguf::open(self.path())?, to);
        }
        for name in FILES {
            copy(&from.join(name), &to.join(name))?;
        }
        let (from, to) = (from.join(TEMPLATES), to.join(TEMPLATES));
        if !from.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&to).map_err(Error::file("create", &to))?;
        for entry in fs::read_dir(&from).map_err(Error::file("read", &from))? {
            let path = entry.map_err(Error::file("read", &from))?.path();
            if let Some(name) = path.file_name().filter(|_| path.is_file()) {
                copy(&path, &to.join(name))?;
            }
        }
        Ok(())
    }
}

/// Copies a file, if there is one.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let same = || from.canonicalize().ok().is_some_and(|from| to.canonicalize().ok() == Some(from));
    if from.is_file() && !same() {
        fs::copy(from, to).map_err(Error::file("write", to))?;
    }
    Ok(())
}
