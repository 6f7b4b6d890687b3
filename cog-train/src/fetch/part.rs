//! A download on its way: `KEY.part`, and `KEY.tag` when it can be resumed.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::store::{feed, read_failed, write_whole};
use super::{hex, key, remove};
use crate::error::Error;
use crate::progress::CancelToken;

/// How often a process that waits for another's download looks again.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// What must still hold when a download is resumed: `KEY.tag`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) etag: String,
    pub(super) total: u64,
}

/// A download on its way, `KEY.part`, locked against other processes.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    tag_path: PathBuf,
    pub(super) length: u64,
    pub(super) tag: Option<Tag>,
    digest: Sha256,
    /// Whether the folder was made for it.
    made_dir: bool,
}

impl Part {
    /// Opens the part of an address and waits until no other process has it.
    pub(super) fn open(dir: &Path, url: &str, cancel: &CancelToken) -> Result<Self, Error> {
        let made_dir = !dir.exists();
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let path = dir.join(format!("{}.part", key(url)));
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
            // Who had it may have renamed or removed it meanwhile; then this is not the part any more.
            if !is_same_file(&file, &path) {
                continue;
            }
            let tag: Option<Tag> =
                fs::read(&tag_path).ok().and_then(|note| serde_json::from_slice(&note).ok());
            let mut digest = Sha256::new();
            let mut length = 0;
            if tag.is_some() {
                length = feed(&mut file, &mut digest, cancel).map_err(read_failed(&path))??;
            }
            let mut part = Self { file, path, tag_path, length, tag, digest, made_dir };
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

    /// Empties the part. With a tag what comes next can be resumed.
    pub(super) fn restart(&mut self, tag: Option<Tag>) -> Result<(), Error> {
        let failed = || Error::file("write", &self.path);
        remove(&self.tag_path);
        self.file.set_len(0).map_err(failed())?;
        self.file.seek(SeekFrom::Start(0)).map_err(failed())?;
        self.length = 0;
        self.digest = Sha256::new();
        if let Some(tag) = &tag {
            let note = serde_json::to_vec(tag).expect("a tag is plain data");
            write_whole(&self.tag_path, &note)?;
        }
        self.tag = tag;
        Ok(())
    }

    /// Ends without the file. What can be resumed stays.
    pub(super) fn leave(self) {
        if self.tag.is_none() || self.length == 0 {
            self.discard();
        }
    }

    /// Ends without the file and keeps nothing.
    pub(super) fn discard(self) {
        remove(&self.tag_path);
        remove(&self.path);
        if self.made_dir
            && let Some(dir) = self.path.parent()
        {
            // Refused by the system unless it is empty.
            let _ = fs::remove_dir(dir);
        }
    }

    /// Brings it to the disk; gives where it is and its digest.
    pub(super) fn finish(&self) -> Result<(&Path, String), Error> {
        self.file.sync_all().map_err(Error::file("write", &self.path))?;
        Ok((&self.path, hex(self.digest.clone().finalize())))
    }

    /// Called when the file has been given its place.
    pub(super) fn moved(self) {
        remove(&self.tag_path);
    }
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
