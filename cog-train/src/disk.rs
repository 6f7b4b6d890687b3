//! The room on a disk.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::message::human;

/// Returns the free bytes of the disk of a path, or of the nearest folder above it that exists.
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    let whole = std::path::absolute(path)?;
    let there = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(there)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Returns an error unless `what` has room: it needs so many bytes on the disk of `path`, which has `free` left.
///
/// # Errors
///
/// [`Error::DiskSpace`] with both sizes and the hint.
pub(crate) fn check_room(
    what: &str,
    needed: u64,
    path: &str,
    free: u64,
    hint: &str,
) -> Result<(), Error> {
    if needed <= free {
        return Ok(());
    }
    let (needed, free) = (human(needed), human(free));
    let reason = format!(
        "{what} needs {needed} on the disk of `{path}`, which has {free} left\nhint: {hint}"
    );
    Err(Error::DiskSpace { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_around_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free(&dir.path().join("a/b")).unwrap() > 0);
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn what_is_exactly_free_is_enough() {
        check_room("the run", 5 << 20, "runs", 5 << 20, "").unwrap();
        let error = check_room("the run", 6 << 20, "runs", 5 << 20, "move").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the run needs 6.0 MiB on the disk of `runs`, which has 5.0 MiB left\nhint: move"
        );
    }
}
