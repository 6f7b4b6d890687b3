//! Parser and validator of `cog.yaml`: every key of Cog's schema, with exact positions and all mistakes at once.
//!
//! The input is text, the result a [`Config`] and [`Note`]s, or a [`ConfigError`]. An unknown key is a warning with the
//! nearest known key when a program starts ([`Config::parse`]), and a mistake when the file itself is checked
//! ([`Config::check`]). Keys about Python are accepted and have no effect; `check` reports them.

mod build;
mod environment;
mod image;
mod keys;
mod load;
mod named;
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

use std::sync::Arc;

pub use build::{Build, Command, Mount};
pub(crate) use named::{Named, Shape, parse_named};
pub use note::{ConfigError, Note, NoteKind, Position};
pub use reference::Reference;
pub(crate) use source::MAX_BYTES;
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
    environment_positions: Vec<Position>,
    concurrency_max: Option<u32>,
    weights: Vec<WeightEntry>,
}

impl Config {
    /// Parses the text of a `cog.yaml`. The notes are warnings to show. Messages name the file `file_name`.
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

    /// Checks a `cog.yaml` strictly, against Cog's schema and against this program: unknown keys are mistakes, `train`
    /// and `run` must name the types given to `run!`, and their files must exist. `exists` is called with each file as
    /// it is written; without the source at hand it returns `true`. The notes are deprecations and keys without effect.
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

    /// Whether the program needs CUDA: `build.gpu`.
    #[must_use]
    pub fn gpu(&self) -> bool {
        self.build.gpu
    }

    /// Returns `build.cuda` as it was written. [`Config::cuda_runs_on`] compares it with a driver.
    #[must_use]
    pub fn cuda(&self) -> Option<&str> {
        self.build.cuda.as_deref()
    }

    /// Returns the `build` section.
    #[must_use]
    pub fn build(&self) -> &Build {
        &self.build
    }

    /// Returns the reference to the trainer: `train`.
    #[must_use]
    pub fn train(&self) -> Option<&Reference> {
        self.train.as_ref()
    }

    /// Returns the reference to the predictor: `run`, or `predict`, its deprecated name.
    #[must_use]
    pub fn predict(&self) -> Option<&Reference> {
        self.predict.as_ref()
    }

    /// Returns the name of the image that Cog builds: `image`.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// Returns the repository of the image and its weights: `model`.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the names and values of `environment` in the order of the file, to be set before `setup`.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns `concurrency.max`.
    #[must_use]
    pub fn concurrency_max(&self) -> Option<u32> {
        self.concurrency_max
    }

    /// Returns the weights that Cog mounts: `weights`.
    #[must_use]
    pub fn weights(&self) -> &[WeightEntry] {
        &self.weights
    }
}

/// Splits the notes into those of the given kinds and the others, each in the order of the file.
fn split(notes: Vec<Note>, first: impl Fn(NoteKind) -> bool) -> (Vec<Note>, Vec<Note>) {
    note::in_order(notes).into_iter().partition(|note| first(note.kind))
}
