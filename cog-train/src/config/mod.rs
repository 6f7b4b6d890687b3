//! `cog.yaml`: every key of Cog's schema, read and checked, with exact positions and all mistakes at once.
//!
//! Text goes in, a [`Config`] and [`Note`]s or a [`ConfigError`] come out. An unknown key is a warning with the nearest
//! good key when a program starts ([`Config::parse`]), and a mistake when the file itself is asked about
//! ([`Config::check`]). Keys about Python are accepted and have no effect; `check` says so.

mod build;
mod environment;
mod keys;
mod load;
mod node;
mod note;
mod read;
mod reference;
mod repository;
mod source;
mod syntax;
mod tree;
mod verify;
mod version;
mod weights;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

pub use build::{Build, Command, Mount};
pub use note::{ConfigError, Note, NoteKind, Position};
pub use reference::Reference;
pub use verify::Names;
pub use weights::{WeightEntry, WeightSource};

/// A project's `cog.yaml`. The default is that of an empty file.
///
/// ```
/// use cog_train::Config;
///
/// let text = "build:
///   gpu: true
///   cuda: 12.8
/// environment:
///   - HF_HOME=/cache
/// train: src/main.rs:TextFinetune
/// trian: src/main.rs:TextFinetune
/// ";
/// let (config, notes) = Config::parse(text, "cog.yaml").unwrap();
/// assert!(config.gpu());
/// assert_eq!(config.cuda(), Some("12.8"));
/// assert_eq!(config.environment().collect::<Vec<_>>(), [("HF_HOME", "/cache")]);
/// assert_eq!(config.train().unwrap().name(), "TextFinetune");
/// assert_eq!(
///     notes[0].to_string(),
///     "cog.yaml:7:1: unknown key `trian`\nhint: did you mean `train`?"
/// );
/// ```
#[derive(Debug, Clone, Default)]
pub struct Config {
    file: Option<Arc<str>>,
    build: Build,
    train: Option<Reference>,
    predict: Option<Reference>,
    image: Option<String>,
    model: Option<String>,
    environment: Vec<(String, String)>,
    concurrency_max: Option<u32>,
    weights: Vec<WeightEntry>,
}

impl Config {
    /// Reads the text of a `cog.yaml`; the notes are warnings to show. `file_name` is what messages call it.
    ///
    /// An empty file is valid.
    ///
    /// # Errors
    ///
    /// Every mistake, at its line and column.
    pub fn parse(
        text: impl AsRef<[u8]>,
        file_name: &str,
    ) -> Result<(Self, Vec<Note>), ConfigError> {
        let (config, notes) = load::load(text.as_ref(), file_name, &Names::default());
        let (mistakes, mut notes) = split(notes, |kind| kind == NoteKind::Mistake);
        ConfigError::unless_empty(&config.file(), mistakes)?;
        notes.retain(|note| note.kind != NoteKind::NoEffect);
        Ok((config, notes))
    }

    /// Reads a file as [`Config::parse`] does.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Config`] for what is wrong in it.
    pub fn read(path: impl AsRef<Path>) -> Result<(Self, Vec<Note>), Error> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        // One byte more than is allowed says that there is too much, without reading it all.
        let limit = source::MAX_BYTES as u64 + 1;
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(Error::file("read", path))?;
        Ok(Self::parse(bytes, &path.display().to_string())?)
    }

    /// Holds a `cog.yaml` against Cog's schema and against this program, strictly: unknown keys are mistakes, `train`
    /// and `run` must name what `run!` got, and their files must be there. `exists` is asked for each file as it is
    /// written; where the source is not at hand it says `true`. The notes are what is deprecated or has no effect.
    ///
    /// # Errors
    ///
    /// Every mistake, at its line and column.
    pub fn check(
        text: impl AsRef<[u8]>,
        file_name: &str,
        names: &Names<'_>,
        exists: impl Fn(&str) -> bool,
    ) -> Result<(Self, Vec<Note>), ConfigError> {
        let (config, mut notes) = load::load(text.as_ref(), file_name, names);
        notes.extend(config.mismatches(names));
        notes.extend(config.missing_files(exists));
        let (mistakes, notes) =
            split(notes, |kind| matches!(kind, NoteKind::Mistake | NoteKind::UnknownKey));
        ConfigError::unless_empty(&config.file(), mistakes)?;
        Ok((config, notes))
    }

    /// `build.gpu`: the program asks for CUDA.
    #[must_use]
    pub fn gpu(&self) -> bool {
        self.build.gpu
    }

    /// `build.cuda`, as it was written. [`Config::cuda_runs_on`] holds it against a driver.
    #[must_use]
    pub fn cuda(&self) -> Option<&str> {
        self.build.cuda.as_deref()
    }

    /// All of `build`.
    #[must_use]
    pub fn build(&self) -> &Build {
        &self.build
    }

    /// `train`: where the trainer is.
    #[must_use]
    pub fn train(&self) -> Option<&Reference> {
        self.train.as_ref()
    }

    /// `run`, or `predict` by its old name: where the predictor is.
    #[must_use]
    pub fn predict(&self) -> Option<&Reference> {
        self.predict.as_ref()
    }

    /// `image`: the name of the image that Cog builds.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// `model`: the repository of the image and its weights.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// `environment`: names and values in the order of the file, to be set before `setup`.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `concurrency.max`.
    #[must_use]
    pub fn concurrency_max(&self) -> Option<u32> {
        self.concurrency_max
    }

    /// `weights`: what Cog mounts.
    #[must_use]
    pub fn weights(&self) -> &[WeightEntry] {
        &self.weights
    }
}

/// The notes of these kinds and the others, each in the order of the file.
fn split(notes: Vec<Note>, first: impl Fn(NoteKind) -> bool) -> (Vec<Note>, Vec<Note>) {
    note::in_order(notes).into_iter().partition(|note| first(note.kind))
}
