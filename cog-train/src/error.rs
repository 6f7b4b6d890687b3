//! The crate's one error type.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::input::Problems;

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
    #[error("weights `{}`: {reason}", printable(.place))]
    Weights {
        /// The file, folder or address.
        place: String,
        /// The cause.
        reason: String,
    },

    /// A pretrained model that cannot be used: its configuration, or tensors that do not fit it.
    #[error("model `{}`: {reason}", printable(.place))]
    Model {
        /// The folder, or the file in it.
        place: String,
        /// The cause.
        reason: String,
    },

    /// An archive that is broken or hostile. Nothing of it was kept.
    #[error("archive `{}`: {reason}", printable(.place))]
    Archive {
        /// The archive's file.
        place: String,
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

    /// An operation that candle could not compute.
    #[error("{}", plain_tensor(.0))]
    Tensor(#[from] candle_core::Error),

    /// Training rows that cannot be used: all of them, up to a limit.
    #[error("data `{}`: {reason}", printable(.place))]
    Data {
        /// The file or folder.
        place: String,
        /// The cause, with the numbers of the lines.
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
    #[error("checkpoint `{}`: {reason}", printable(.place))]
    Checkpoint {
        /// Its folder.
        place: String,
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
    #[error("`{what}` panicked at {place}: {message}")]
    Panicked {
        /// `setup`, `train` or `predict`.
        what: &'static str,
        /// File, line and column.
        place: String,
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

    /// An [`Error::Model`] about the file or folder `place`.
    pub(crate) fn model(place: &Path, reason: impl Into<String>) -> Self {
        Self::Model { place: place.display().to_string(), reason: reason.into() }
    }

    /// An [`Error::Weights`] about the file or folder `place`.
    pub(crate) fn weights(place: &Path, reason: impl Into<String>) -> Self {
        Self::Weights { place: place.display().to_string(), reason: reason.into() }
    }
}

/// Returns the first [`Error`] in the chain of an author's error.
pub(crate) fn find(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Formats one link of an error's chain, without candle's backtrace.
pub(crate) fn plain(cause: &(dyn std::error::Error + 'static)) -> String {
    if let Some(error) = cause.downcast_ref::<candle_core::Error>() {
        plain_tensor(error)
    } else if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        plain_io(error)
    } else {
        cause.to_string()
    }
}

/// Formats a system error without its "(os error 2)".
pub(crate) fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => lower_first(text),
        None => text,
    }
}

/// Formats candle's error without the backtrace that its `Display` adds.
pub(crate) fn plain_tensor(error: &candle_core::Error) -> String {
    use candle_core::Error as E;
    match error {
        E::WithBacktrace { inner, .. } => plain_tensor(inner),
        E::WithPath { inner, path } => format!("{}: {}", path.display(), plain_tensor(inner)),
        E::Context { inner, context } => format!("{context}: {}", plain_tensor(inner)),
        other => other.to_string(),
    }
}

/// Returns the printed backtrace of an error, if `RUST_BACKTRACE` asked for one: candle's, which begins where the error
/// arose, else that of the conversion into [`anyhow::Error`].
pub(crate) fn backtrace(error: &anyhow::Error) -> Option<String> {
    use candle_core::Error as E;
    fn of_tensor(error: &E) -> Option<String> {
        match error {
            E::WithBacktrace { backtrace, .. } => Some(backtrace.to_string()),
            E::WithPath { inner, .. } | E::Context { inner, .. } => of_tensor(inner),
            _ => None,
        }
    }
    let tensor = error.chain().find_map(|cause| of_tensor(cause.downcast_ref()?));
    tensor.or_else(|| {
        let own = error.backtrace();
        (own.status() == std::backtrace::BacktraceStatus::Captured).then(|| own.to_string())
    })
}

/// Returns text from outside (a path, a server's words) as a message may show it: control characters, and what else
/// a terminal obeys or hides, are escaped.
pub(crate) fn printable(text: impl std::fmt::Display) -> String {
    const PLAIN: [char; 3] = ['"', '\'', '\\'];
    let text = text.to_string();
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(PLAIN) {
        let body = piece.strip_suffix(PLAIN).unwrap_or(piece);
        shown.extend(body.escape_debug());
        shown.push_str(&piece[body.len()..]);
    }
    shown
}

/// Returns a name from a file as a message may show it: [`printable`], and cut when it is long.
pub(crate) fn printable_name(name: &str) -> String {
    const MAX_CHARS: usize = 200;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => printable(&name[..end]) + "...",
        None => printable(name),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
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
    fn printable_escapes_what_a_terminal_obeys_and_nothing_else() {
        for (text, shown) in [
            ("a\x1b[2J\r\n\x07\u{9b}31m", r"a\u{1b}[2J\r\n\u{7}\u{9b}31m"),
            ("\u{202e}cod.exe\u{200b}", r"\u{202e}cod.exe\u{200b}"),
            ("it's \"C:\\a\" \u{e4}e\u{301}", "it's \"C:\\a\" \u{e4}e\u{301}"),
            ("", ""),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_name(&"n".repeat(200)), "n".repeat(200));
        assert_eq!(printable_name(&"\u{4e2d}".repeat(201)), "\u{4e2d}".repeat(200) + "...");
    }

    #[test]
    fn messages_escape_the_places_that_they_name() {
        let place = "a\x1b[2Jb".to_owned();
        let io = || std::io::Error::from(std::io::ErrorKind::NotFound);
        for error in [
            Error::Weights { place: place.clone(), reason: "bad".to_owned() },
            Error::Model { place: place.clone(), reason: "bad".to_owned() },
            Error::Archive { place: place.clone(), reason: "bad".to_owned() },
            Error::Data { place: place.clone(), reason: "bad".to_owned() },
            Error::Checkpoint { place: place.clone(), reason: "bad".to_owned() },
            Error::File { action: "read", path: place.clone().into(), source: io() },
        ] {
            let shown = error.to_string();
            assert!(shown.contains(r"`a\u{1b}[2Jb`"), "{shown:?}");
        }
    }
}
