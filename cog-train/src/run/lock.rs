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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_lock_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(Lock::take(dir.path()).unwrap().is_none());
        drop(first);
        assert!(Lock::take(dir.path()).unwrap().is_some());
    }
}
