//! A tokenizer with the special tokens of its folder.

use std::path::{Path, PathBuf};

use super::files::embedding_rows;
use super::spans::Spans;
use super::special::{Declared, SpecialTokens};
use crate::error::{Error, printable_name};
use crate::gguf::Gguf;
use crate::tokenizer_files::{self, Stored, stored};

/// The file of a folder.
const FILE: &str = "tokenizer.json";

/// The tokenizer of a Hugging Face folder, or of a GGUF file.
///
/// `tokenizer.json` decides the tokens; the special tokens and their names come from `tokenizer_config.json`,
/// `special_tokens_map.json` and `generation_config.json`, each as far as it is there. Ids equal those of `transformers`. As there,
/// a special token that the vocabulary does not have is appended to it, and `add_bos_token` counts for nothing beside a
/// `tokenizer.json`, whose own rule decides. The class `LlamaTokenizer` has rules of its own for spaces. Rules for padding and truncation are dropped.
///
/// ```
/// use cog_train::text::Tokenizer;
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/pieces");
/// let tokenizer = Tokenizer::open(folder)?;
/// let ids = tokenizer.encode("The answer")?;
/// assert_eq!(Some(ids[0]), tokenizer.special().bos); // this one begins each sequence with `<s>`
/// assert_eq!(tokenizer.encode_plain("The answer")?, ids[1..]);
/// assert_eq!(tokenizer.decode(&ids)?, "The answer");
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    special: SpecialTokens,
    /// Before each sequence.
    prefix: Vec<u32>,
    /// Behind each sequence.
    suffix: Vec<u32>,
    last: (u32, String),
}

impl Tokenizer {
    /// Opens a folder, or a GGUF file: one with the bytes of GPT-2, or the pieces of `SentencePiece`.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when there is no `tokenizer.json`, a file is not what its name says, the `config.json` beside it is
    /// of a model without an embedding for each token, or a GGUF file has no tokenizer or one of another kind; [`Error::File`] when one
    /// cannot be read; those of [`Gguf::open`](crate::gguf::Gguf::open).
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        if folder.is_file() {
            let Stored { json, named, stop } = stored(&Gguf::open(folder)?)?;
            return Self::new(&json.to_string(), Declared::of(named, stop), folder.to_owned());
        }
        let path = folder.join(FILE);
        let Some(json) = tokenizer_files::read(&path)? else {
            return Err(Error::tokenizer(
                folder,
                "there is no `tokenizer.json`\n\
                 hint: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` in Python writes one from older files",
            ));
        };
        let declared = Declared::read(folder)?;
        let rebuilt = tokenizer_files::rebuild(&json, &declared.config, folder)?;
        let tokenizer = Self::new(rebuilt.as_deref().unwrap_or(&json), declared, path)?;
        if let Some(rows) = embedding_rows(folder)? {
            tokenizer.check_embedding(rows)?;
        }
        Ok(tokenizer)
    }

    fn new(json: &str, declared: Declared, path: PathBuf) -> Result<Self, Error> {
        let refused =
            |error: tokenizers::Error| Error::tokenizer(&path, format!("not a tokenizer: {error}"));
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(refused)?;
        inner.with_truncation(None).map_err(refused)?.with_padding(None);
        let missing = declared.missing(|token| inner.token_to_id(token).is_some());
        if !missing.is_empty() {
            inner.add_special_tokens(missing).map_err(refused)?;
        }
        let special = declared.resolve(|token| inner.token_to_id(token));
        let last = inner.get_vocab(true).into_iter().map(|(token, id)| (id, token)).max();
        let last = last.ok_or_else(|| Error::tokenizer(&path, "its vocabulary is empty"))?;
        let mut tokenizer =
            Self { inner, path, special, prefix: Vec::new(), suffix: Vec::new(), last };
        let around = tokenizer.encode("a")?;
        let alone = tokenizer.encode_plain("a")?;
        let found = (0..=around.len() - alone.len()).find(|at| around[*at..].starts_with(&alone));
        if let Some(at) = found {
            tokenizer.prefix = around[..at].to_vec();
            tokenizer.suffix = around[at + alone.len()..].to_vec();
        }
        Ok(tokenizer)
    }

    /// Returns the ids of a text, with the special tokens that the tokenizer puts around each sequence.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the vocabulary has no token for a piece of the text and none for unknown text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoded = self.inner.encode_fast(text, true).map_err(|error| self.failed(&error))?;
        Ok(encoded.get_ids().to_vec())
    }

    /// Returns the ids of a text alone: `add_special_tokens=False`. Special tokens that are written in the text are found in it
    /// all the same.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoded = self.inner.encode_fast(text, false).map_err(|error| self.failed(&error))?;
        Ok(encoded.get_ids().to_vec())
    }

    /// Does the same as [`Tokenizer::encode`] and drops tokens from the end of the text until there are at most `most` with the
    /// special ones: the input of an encoder.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::encode`].
    pub fn encode_within(&self, text: &str, most: usize) -> Result<Vec<u32>, Error> {
        let mut ids = self.encode(text)?;
        if ids.len() > most {
            ids.truncate(most.saturating_sub(self.suffix.len()));
            ids.extend(&self.suffix);
        }
        Ok(ids)
    }

    /// Does the same as [`Tokenizer::encode_plain`], with the bytes of each token.
    pub(super) fn encode_spans(&self, text: &str) -> Result<Spans, Error> {
        let encoded = self.inner.encode(text, false).map_err(|error| self.failed(&error))?;
        Ok(Spans { ids: encoded.get_ids().to_vec(), offsets: encoded.get_offsets().to_vec() })
    }

    /// Returns the text of ids, without special tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.inner.decode(ids, true).map_err(|error| self.failed(&error))
    }

    /// Returns the text of ids, with special tokens.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::decode`].
    pub fn decode_all(&self, ids: &[u32]) -> Result<String, Error> {
        self.inner.decode(ids, false).map_err(|error| self.failed(&error))
    }

    /// Starts to decode ids one by one, as they are generated.
    #[must_use]
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, ids: Vec::new(), shown: 0, read: 0 }
    }

    /// Returns the id of a token of the vocabulary.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Returns the token of an id, as the vocabulary spells it.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns the special tokens.
    #[must_use]
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Returns the token that fills short rows of a batch: the one of that name, else the end of sequence, else 0.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        self.special.pad.or(self.special.eos).unwrap_or_default()
    }

    /// Returns the number of tokens, with added ones: Python's `len(tokenizer)`.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the special tokens that [`Tokenizer::encode`] puts before a sequence.
    #[must_use]
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// Returns the special tokens that [`Tokenizer::encode`] puts behind a sequence.
    #[must_use]
    pub fn suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// Checks that a model with an embedding of `rows` rows has one for each token.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] with the last token and both numbers.
    pub fn check_embedding(&self, rows: usize) -> Result<(), Error> {
        let (id, token) = &self.last;
        if (*id as usize) < rows {
            return Ok(());
        }
        let reason = format!(
            "`{}` has the id {id}, and the model's embedding has {rows} rows\n\
             hint: use the model's own tokenizer, or add rows to its embedding",
            printable_name(token)
        );
        Err(Error::tokenizer(&self.path, reason))
    }

    /// Whether it is from a GGUF file.
    pub(super) fn is_of_gguf(&self) -> bool {
        self.path.file_name().is_some_and(|name| name != FILE)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: &tokenizers::Error) -> Error {
        Error::tokenizer(&self.path, error.to_string())
    }
}

/// Decodes ids one by one: [`Tokenizer::stream`].
///
/// ```
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/bytes");
/// let tokenizer = cog_train::text::Tokenizer::open(folder)?;
/// let mut stream = tokenizer.stream();
/// let mut text = String::new();
/// for id in tokenizer.encode("東京 is Tokyo")? {
///     text += &stream.push(id)?; // empty until a character is complete
/// }
/// text += &stream.finish()?;
/// assert_eq!(text, "東京 is Tokyo");
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The ids since the last but one text was shown: the context of a token can change how it is written.
    ids: Vec<u32>,
    /// The ids before this index are the context.
    read: usize,
    /// The bytes of the context's text.
    shown: usize,
}

impl TextStream<'_> {
    /// Adds an id and returns the text that is certain now. Special tokens have none.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, Error> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids)?;
        // A replacement character stands for bytes that are not a whole character yet.
        if text.len() <= self.shown || text.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        self.take(&text)
    }

    /// Returns the text that is left: bytes that never became a character.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::decode`].
    pub fn finish(mut self) -> Result<String, Error> {
        let text = self.tokenizer.decode(&self.ids)?;
        self.take(&text)
    }

    fn take(&mut self, text: &str) -> Result<String, Error> {
        let new = text.get(self.shown..).unwrap_or_default().to_owned();
        self.ids.drain(..self.read);
        self.read = self.ids.len();
        self.shown = self.tokenizer.decode(&self.ids)?.len();
        Ok(new)
    }
}
