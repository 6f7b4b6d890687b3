//! Devices, pipes and sockets. A rename would replace one by a regular file, and opening a pipe may block forever.

use std::fs;
use std::path::Path;

use crate::error::Error;

/// Refuses a path that is there and neither a file nor a folder, such as `/dev/null`.
///
/// # Errors
///
/// [`Error::Arguments`], with the way to write to standard output.
pub(crate) fn refuse_special(path: &Path) -> Result<(), Error> {
    if !is_special(path) {
        return Ok(());
    }
    let reason = format!(
        "`-o {}` is neither a file nor a folder\nhint: name another path with `-o`; `-o -` is standard output",
        path.display()
    );
    Err(Error::Arguments { reason })
}

/// Whether a path leads to something that is neither a file nor a folder.
pub(super) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir())
}
