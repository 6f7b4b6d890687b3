//! A download in progress: `KEY.part`, and `KEY.tag` when it can be resumed.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::{digest_rest, hex, remove, write_atomic};
use crate::error::Error;
use crate::partial;
use crate::progress::CancelToken;
use crate::read;

/// The pause between attempts to lock a part that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The condition under which a download is resumed: `KEY.tag`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) etag: String,
    pub(super) total: u64,
}

/// A download in progress, `KEY.part`, locked against other processes.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    tag_path: PathBuf,
    pub(super) length: u64,
    pub(super) tag: Option<Tag>,
    digest: Sha256,
    /// The folder was created for it.
    created_dir: bool,
}

impl Part {
    /// Opens the part `key` in `dir`, and waits until no other process holds it.
    pub(super) fn open(dir: &Path, key: &str, cancel: &CancelToken) -> Result<Self, Error> {
        let created_dir = !dir.exists();
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let path = dir.join(format!("{key}.part"));
        let tag_path = path.with_extension("tag");
        let failed = || Error::file("create", &path);
        loop {
            cancel.check()?;
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(LOCK_POLL);
                    continue;
                }
                Err(fs::TryLockError::Error(error)) => return Err(failed()(error)),
            }
            // Its last holder may have renamed or removed it meanwhile; then this file is no longer the part.
            if !is_same_file(&file, &path) {
                continue;
            }
            let tag: Option<Tag> = read::file(&tag_path, read::JSON_BYTES)
                .ok()
                .and_then(|note| serde_json::from_slice(&note).ok());
            let mut digest = Sha256::new();
            let mut length = 0;
            if tag.is_some() {
                length = digest_rest(&mut file, &mut digest, cancel)
                    .map_err(Error::file("read", &path))??;
            }
            let mut part = Self { file, path, tag_path, length, tag, digest, created_dir };
            if part.tag.as_ref().is_none_or(|tag| part.length > tag.total) {
                part.restart(None)?;
            }
            return Ok(part);
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::file("write", &self.path))?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Truncates the part. With a tag, the download that follows can be resumed.
    pub(super) fn restart(&mut self, tag: Option<Tag>) -> Result<(), Error> {
        let failed = || Error::file("write", &self.path);
        remove(&self.tag_path);
        self.file.set_len(0).map_err(failed())?;
        self.file.seek(SeekFrom::Start(0)).map_err(failed())?;
        self.length = 0;
        self.digest = Sha256::new();
        if let Some(tag) = &tag {
            let note = serde_json::to_vec(tag).expect("a tag is plain data");
            write_atomic(parent_of(&self.path), &self.tag_path, &note)?;
        }
        self.tag = tag;
        Ok(())
    }

    /// Ends without the file, and keeps what can be resumed.
    pub(super) fn suspend(self) {
        if self.tag.is_none() || self.length == 0 {
            self.discard();
        }
    }

    /// Ends without the file and keeps nothing.
    pub(super) fn discard(self) {
        remove(&self.tag_path);
        remove(&self.path);
        if self.created_dir {
            // Refused by the system unless it is empty.
            let _ = fs::remove_dir(parent_of(&self.path));
        }
    }

    /// Makes the whole download durable, and returns its digest.
    pub(super) fn finish(&self) -> Result<String, Error> {
        self.file.sync_all().map_err(Error::file("write", &self.path))?;
        Ok(hex(self.digest.clone().finalize()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the whole download to `path`. The lock is held until the part is dropped.
    pub(super) fn persist(&self, path: &Path) -> Result<(), Error> {
        fs::rename(&self.path, path).map_err(Error::file("create", path))?;
        remove(&self.tag_path);
        Ok(())
    }
}

/// Removes the parts in `dir` that cannot be resumed and whose process has died.
pub(super) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "part")
            && !path.with_extension("tag").exists()
        {
            partial::remove_unlocked(&path);
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().expect("a part is in a folder")
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_file: &File, path: &Path) -> bool {
    // An open file can be neither renamed nor removed there.
    path.exists()
}
