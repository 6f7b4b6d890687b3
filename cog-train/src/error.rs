//! The crate's one error type.

mod cause;

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::input::Problems;
pub(crate) use crate::message::{counted, printable, printable_lines, printable_name};
pub(crate) use cause::{backtrace, panic_message, plain, plain_io, plain_tensor};

/// The error of every function of this crate, one variant for each thing that a caller may act on.
///
/// A message names the thing in backticks, gives both values, and ends with a `hint:` line when there is a remedy.
/// A trainer's own errors are `anyhow::Error`; the runner finds this type in their chain and takes the exit code from
/// it ([`Error::exit_code`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Inputs that do not fit their declarations: all of them.
    #[error(transparent)]
    Inputs(#[from] Problems),

    /// Command-line arguments that cannot be understood or do not go together.
    #[error("{reason}")]
    Arguments {
        /// The cause, and the remedy.
        reason: String,
    },

    /// A `cog.yaml` that is not valid, with every mistake at its line and column.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// Weights that cannot be opened, read or saved.
    #[error("weights `{}`: {reason}", printable(.location))]
    Weights {
        /// The file, folder or address.
        location: String,
        /// The cause.
        reason: String,
    },

    /// A pretrained model that cannot be used: its configuration, or tensors that do not fit it.
    #[error("model `{}`: {reason}", printable(.location))]
    Model {
        /// The folder, or the file in it.
        location: String,
        /// The cause.
        reason: String,
    },

    /// An archive that is broken or hostile. Nothing of it was kept.
    #[error("archive `{}`: {reason}", printable(.location))]
    Archive {
        /// The archive, by its path, its address or the name that its reader was given.
        location: String,
        /// The cause, with the member's name.
        reason: String,
    },

    /// A URL that could not be fetched.
    #[error("cannot fetch `{url}`: {reason}")]
    Fetch {
        /// The URL, without credentials.
        url: String,
        /// The answer of the server or the network.
        reason: String,
    },

    /// A file that could not be read or written.
    #[error("cannot {action} `{}`: {}", printable(.path.display()), plain_io(.source))]
    File {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// A disk with less free space than the run needs.
    #[error("{reason}")]
    DiskSpace {
        /// The disk, both sizes, and how to need less.
        reason: String,
    },

    /// A thread that the system did not start.
    #[error(
        "cannot spawn the thread that {task}: {}\nhint: raise the limit on processes (`ulimit -u`)",
        plain_io(.source)
    )]
    Thread {
        /// The thread's task in the third person: `reads data`.
        task: &'static str,
        /// The system's error.
        source: std::io::Error,
    },

    /// An output of a training or prediction that cannot be written.
    #[error("output `{name}`: {reason}")]
    Output {
        /// The output's field, or `output`.
        name: String,
        /// The cause.
        reason: String,
    },

    /// A device that is not available.
    #[error("device `{device}`: {reason}")]
    Device {
        /// The requested device: `cuda:1`.
        device: String,
        /// Why it is not available.
        reason: String,
    },

    /// Ranks that cannot train together: contradictory variables of a launcher, a rank that is lost or has failed.
    #[error("{reason}")]
    Ranks {
        /// The rank, where one is to blame, and the cause.
        reason: String,
    },

    /// An operation that candle could not compute.
    #[error("{}", plain_tensor(.0))]
    Tensor(#[from] candle_core::Error),

    /// Training rows that cannot be used: all of them, up to a limit.
    #[error("data `{}`: {reason}", printable(.location))]
    Data {
        /// The file or folder, or the row: `train.jsonl line 17`.
        location: String,
        /// The cause, with the numbers of the lines.
        reason: String,
    },

    /// A tokenizer that cannot be opened, does not fit its model, or cannot encode a text.
    #[error("tokenizer `{}`: {reason}", printable(.place))]
    Tokenizer {
        /// The file or folder.
        place: String,
        /// The cause, and the remedy.
        reason: String,
    },

    /// A chat template that cannot be opened or rendered, or that raised an exception.
    #[error("chat template `{}`: {reason}", printable(.place))]
    ChatTemplate {
        /// The file or folder.
        place: String,
        /// The cause, with the template's line.
        reason: String,
    },

    /// A configuration that no training can have: an option out of range, or options, parameters and data that
    /// contradict each other.
    #[error("{reason}")]
    InvalidConfig {
        /// The cause, and the remedy.
        reason: String,
    },

    /// A training that failed at a step: values that are not finite, gradients that are missing.
    #[error("step {step}: {reason}")]
    Diverged {
        /// Counted from 1.
        step: u64,
        /// The event, and the remedy.
        reason: String,
    },

    /// A checkpoint that cannot be written or read.
    #[error("checkpoint `{}`: {reason}", printable(.location))]
    Checkpoint {
        /// Its folder, or the part of its state that does not fit: `optimizer`.
        location: String,
        /// The cause.
        reason: String,
    },

    /// A run that cannot be resumed, because something has changed since.
    #[error("the run cannot be resumed: {reason}")]
    Resume {
        /// The value before and the value now.
        reason: String,
    },

    /// A panic in the author's code.
    #[error("`{what}` panicked at {location}: {message}")]
    Panicked {
        /// `setup`, `train` or `predict`.
        what: &'static str,
        /// File, line and column.
        location: String,
        /// The panic's text.
        message: String,
    },

    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Returns the exit code of a process that ends with this error: 2 for a mistake of the caller, 130 for an
    /// interruption, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Inputs(_) | Self::Arguments { .. } | Self::Config(_) | Self::Resume { .. } => 2,
            Self::Cancelled => 130,
            _ => 1,
        }
    }

    /// Returns a function for `map_err` that makes an [`Error::File`].
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// An [`Error::Model`] about the file or folder `path`.
    pub(crate) fn model(path: &Path, reason: impl Into<String>) -> Self {
        Self::Model {
            location: path.display().to_string(),
            reason: printable_lines(&reason.into()),
        }
    }

    /// An [`Error::Weights`] about the file or folder `path`.
    pub(crate) fn weights(path: &Path, reason: impl Into<String>) -> Self {
        Self::Weights {
            location: path.display().to_string(),
            reason: printable_lines(&reason.into()),
        }
    }

    /// An [`Error::Tokenizer`] about the file or folder `place`.
    pub(crate) fn tokenizer(place: &Path, reason: impl Into<String>) -> Self {
        Self::Tokenizer {
            place: place.display().to_string(),
            reason: printable_lines(&reason.into()),
        }
    }

    /// An [`Error::ChatTemplate`] about the file or folder `place`.
    #[cfg(feature = "text")]
    pub(crate) fn chat_template(place: &Path, reason: impl Into<String>) -> Self {
        Self::ChatTemplate {
            place: place.display().to_string(),
            reason: printable_lines(&reason.into()),
        }
    }
}

/// Returns the first [`Error`] in the chain of an author's error.
pub(crate) fn find(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_cannot_be_spawned_is_named_with_the_remedy() {
        let source = std::io::Error::from_raw_os_error(11);
        let error = Error::Thread { task: "reads data", source };
        assert_eq!(
            error.to_string(),
            "cannot spawn the thread that reads data: resource temporarily unavailable\n\
             hint: raise the limit on processes (`ulimit -u`)"
        );
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn a_system_error_is_shown_without_its_number() {
        let error = Error::file("read", Path::new("a"))(std::io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "cannot read `a`: no such file or directory");
    }

    #[test]
    fn only_the_callers_mistakes_end_with_2() {
        let reason = String::new;
        for (error, code) in [
            (Error::Arguments { reason: reason() }, 2),
            (Error::Resume { reason: reason() }, 2),
            (Error::InvalidConfig { reason: reason() }, 1),
            (Error::DiskSpace { reason: reason() }, 1),
            (Error::Cancelled, 130),
        ] {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
    }

    #[test]
    fn messages_escape_the_locations_that_they_name() {
        let location = "a\x1b[2Jb".to_owned();
        let io = || std::io::Error::from(std::io::ErrorKind::NotFound);
        for error in [
            Error::Weights { location: location.clone(), reason: "bad".to_owned() },
            Error::Model { location: location.clone(), reason: "bad".to_owned() },
            Error::Archive { location: location.clone(), reason: "bad".to_owned() },
            Error::Data { location: location.clone(), reason: "bad".to_owned() },
            Error::Checkpoint { location: location.clone(), reason: "bad".to_owned() },
            Error::File { action: "read", path: location.clone().into(), source: io() },
        ] {
            let shown = error.to_string();
            assert!(shown.contains(r"`a\u{1b}[2Jb`"), "{shown:?}");
        }
    }
}
