//! A download in progress: a locked file that grows. Either it is called `KEY.part`, and `KEY.tag` beside it says when it can
//! be resumed; or its content is known beforehand, and its own name stands for it.

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    /// Without it the server is not queried whether the content is still the same: a digest decides at the end.
    pub(super) etag: Option<String>,
    pub(super) total: u64,
}

/// A download in progress, locked against other processes.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    /// `None` for content that is known beforehand: its tag never changes.
    tag_path: Option<PathBuf>,
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
        let file = lock(&path, cancel)?;
        let tag = read::file(&tag_path, read::JSON_BYTES)
            .ok()
            .and_then(|note| serde_json::from_slice(&note).ok());
        let mut part = Self::new(file, path, tag);
        part.tag_path = Some(tag_path);
        part.created_dir = created_dir;
        part.read(cancel)
    }

    /// Opens the part `path` of content that is known beforehand. Without a tag it cannot be resumed.
    pub(super) fn known(
        path: &Path,
        tag: Option<Tag>,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let file = lock(path, cancel)?;
        Self::new(file, path.to_owned(), tag).read(cancel)
    }

    fn new(file: File, path: PathBuf, tag: Option<Tag>) -> Self {
        let digest = Sha256::new();
        Self { file, path, tag_path: None, length: 0, tag, digest, created_dir: false }
    }

    /// Digests what an earlier download left, and truncates what cannot be resumed.
    fn read(mut self, cancel: &CancelToken) -> Result<Self, Error> {
        if self.tag.is_some() {
            self.length = digest_rest(&mut self.file, &mut self.digest, cancel)
                .map_err(Error::file("read", &self.path))??;
        }
        if self.tag.as_ref().is_none_or(|tag| self.length > tag.total) {
            self.restart(None)?;
        }
        Ok(self)
    }

    /// Returns the size of content that is known beforehand.
    pub(super) fn known_total(&self) -> Option<u64> {
        self.tag.as_ref().filter(|_| self.tag_path.is_none()).map(|tag| tag.total)
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::file("write", &self.path))?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Truncates the part. With a tag, the download that follows can be resumed. Known content keeps its own tag.
    pub(super) fn restart(&mut self, tag: Option<Tag>) -> Result<(), Error> {
        let failed = || Error::file("write", &self.path);
        self.remove_tag();
        self.file.set_len(0).map_err(failed())?;
        self.file.seek(SeekFrom::Start(0)).map_err(failed())?;
        self.length = 0;
        self.digest = Sha256::new();
        let Some(tag_path) = &self.tag_path else { return Ok(()) };
        if let Some(tag) = &tag {
            let note = serde_json::to_vec(tag).expect("a tag is plain data");
            write_atomic(parent_of(&self.path), tag_path, &note)?;
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
        self.remove_tag();
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
        self.remove_tag();
        Ok(())
    }

    fn remove_tag(&self) {
        if let Some(tag_path) = &self.tag_path {
            remove(tag_path);
        }
    }
}

/// Opens and locks a file, which is created if need be, and waits until no other process holds it. A symbolic link is refused.
pub(crate) fn lock(path: &Path, cancel: &CancelToken) -> Result<File, Error> {
    let failed = || Error::file("create", path);
    loop {
        cancel.check()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        }
        let file = options.open(path).map_err(failed())?;
        match file.try_lock() {
            // Its last holder may have renamed or removed it meanwhile; then this file no longer has the name.
            Ok(()) if is_same_file(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            Err(fs::TryLockError::Error(error)) => return Err(failed()(error)),
        }
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
