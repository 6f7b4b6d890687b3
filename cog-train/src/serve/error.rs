//! The reasons for which a server does not start.

use std::io;

/// The reason for which a server does not start, or ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The address is taken, not this machine's, or not an address.
    #[error("cannot listen on `{address}`: {}\nhint: name another one with `--host` and `--port`", crate::error::plain_io(.source))]
    Listen { address: String, source: io::Error },
    /// The system refuses threads, signals or sockets.
    #[error("cannot start the server: {}", crate::error::plain_io(.0))]
    System(#[from] io::Error),
}
