//! Of several processes one trains in a folder: it holds a lock on a file there as long as it lives.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Error;

const FILE: &str = ".lock";

/// A folder's lock. It goes with the process, however that ends; the file stays.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder, without waiting for it; `None` when another process holds it.
    pub(crate) fn take(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::file("create", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            // A file system without locks keeps nobody out.
            Ok(()) | Err(Errno::NOLCK | Errno::NOSYS | Errno::NOTSUP) => {
                Ok(Some(Self { _file: file }))
            }
            Err(error) => Err(Error::file("lock", &path)(error.into())),
        }
    }
}

/// Whether a process holds the lock of a folder. The lock is looked up and not taken: a process that takes it at this very moment
/// is not refused. Where the system has no list of locks, as everywhere but on Linux, a folder counts as locked.
#[cfg(feature = "serve")]
pub(crate) fn is_locked(dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(file) = std::fs::metadata(dir.join(FILE)) else { return false };
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else { return true };
    // `1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF`
    let inode = format!(":{}", file.ino());
    locks.lines().any(|line| {
        let mut fields = line.split_whitespace();
        line.contains(" FLOCK ") && fields.any(|field| field.ends_with(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_lock_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(Lock::take(dir.path()).unwrap().is_none());
        #[cfg(feature = "serve")]
        assert!(is_locked(dir.path()));
        drop(first);
        #[cfg(all(feature = "serve", target_os = "linux"))]
        assert!(!is_locked(dir.path()));
        assert!(Lock::take(dir.path()).unwrap().is_some());
    }
}
