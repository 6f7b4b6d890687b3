//! The files of a tokenizer, beside those of a model that was trained with it.

use std::fs;
use std::path::Path;

use super::tokenizer::Tokenizer;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::tokenizer_files;

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
        if self.is_of_gguf() {
            fs::create_dir_all(to).map_err(Error::file("create", to))?;
            return tokenizer_files::save(&Gguf::open(self.path())?, to);
        }
        tokenizer_files::copy(from, to)
    }
}
