//! The crate's one error type.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::input::Problems;

/// What can go wrong, by what a caller may do about it.
///
/// A message names the thing in backticks, gives both numbers, and ends with a `hint:` line when there is a remedy.
/// A trainer's own errors are `anyhow::Error`; the runner finds this type in their chain and takes the exit code from
/// it ([`Error::exit_code`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Inputs that do not fit their declarations, all of them.
    #[error(transparent)]
    Inputs(#[from] Problems),

    /// Command-line arguments that cannot be understood or do not go together.
    #[error("{reason}")]
    Arguments {
        /// What is wrong and what to write instead.
        reason: String,
    },

    /// A `cog.yaml` that is not valid, with every mistake at its line and column.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// Weights that cannot be opened, read or saved.
    #[error("weights `{place}`: {reason}")]
    Weights {
        /// The file, folder or address.
        place: String,
        /// What is wrong with it.
        reason: String,
    },

    /// An archive that is broken or hostile. Nothing of it was kept.
    #[error("archive `{place}`: {reason}")]
    Archive {
        /// The archive's file.
        place: String,
        /// What is wrong, with the member's name.
        reason: String,
    },

    /// An address that could not be fetched.
    #[error("cannot fetch `{url}`: {reason}")]
    Fetch {
        /// The address, without credentials.
        url: String,
        /// What the server or the network said.
        reason: String,
    },

    /// A file that could not be read or written.
    #[error("cannot {action} `{}`: {}", .path.display(), plain_io(.source))]
    File {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A training or prediction returned something that cannot be written out.
    #[error("output `{name}`: {reason}")]
    Output {
        /// The output's field, or `output`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A device that is not there.
    #[error("device `{device}`: {reason}")]
    Device {
        /// As it was asked for: `cuda:1`.
        device: String,
        /// Why it cannot be had.
        reason: String,
    },

    /// candle could not compute.
    #[error("{}", plain_tensor(.0))]
    Tensor(#[from] candle_core::Error),

    /// Training rows that cannot be used: all of them, up to a limit.
    #[error("data `{place}`: {reason}")]
    Data {
        /// The file or folder.
        place: String,
        /// What is wrong, with the numbers of the lines.
        reason: String,
    },

    /// Parts of a training that do not go together: its parameters, its loss, its numbers.
    #[error("{reason}")]
    Plan {
        /// What is wrong and what to write instead.
        reason: String,
    },

    /// A training that cannot go on: numbers that are not finite, gradients that do not arrive.
    #[error("step {step}: {reason}")]
    Diverged {
        /// Counted from 1.
        step: u64,
        /// What happened and what helps.
        reason: String,
    },

    /// A checkpoint that cannot be written or read.
    #[error("checkpoint `{place}`: {reason}")]
    Checkpoint {
        /// Its folder.
        place: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A run that cannot be gone on with, because something has changed since.
    #[error("the run cannot be resumed: {reason}")]
    Resume {
        /// What was, and what is now.
        reason: String,
    },

    /// The author's code panicked.
    #[error("`{what}` panicked at {place}: {message}")]
    Panicked {
        /// `setup`, `train` or `predict`.
        what: &'static str,
        /// File, line and column.
        place: String,
        /// The panic's text.
        message: String,
    },

    /// The run was asked to stop, and did.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What a process that ends by this error answers: 2 for what the caller wrote wrong, 130 for an interruption,
    /// else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Inputs(_) | Self::Arguments { .. } | Self::Config(_) | Self::Resume { .. } => 2,
            Self::Cancelled => 130,
            _ => 1,
        }
    }

    /// An [`Error::File`] maker for `map_err`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// The first [`Error`] in the chain of an author's error.
pub(crate) fn find(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// One link of an error's chain as text, without candle's backtrace.
pub(crate) fn plain(cause: &(dyn std::error::Error + 'static)) -> String {
    if let Some(error) = cause.downcast_ref::<candle_core::Error>() {
        plain_tensor(error)
    } else if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        plain_io(error)
    } else {
        cause.to_string()
    }
}

/// What a system error says, without "(os error 2)".
pub(crate) fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => lower_first(text),
        None => text,
    }
}

/// What candle says, without the backtrace that its `Display` adds.
pub(crate) fn plain_tensor(error: &candle_core::Error) -> String {
    use candle_core::Error as E;
    match error {
        E::WithBacktrace { inner, .. } => plain_tensor(inner),
        E::WithPath { inner, path } => format!("{}: {}", path.display(), plain_tensor(inner)),
        E::Context { inner, context } => format!("{context}: {}", plain_tensor(inner)),
        other => other.to_string(),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
