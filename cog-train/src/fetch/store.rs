//! The folder of a [`Fetcher`](super::Fetcher): files by their content, notes by their address, parts of downloads.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::Address;
use super::{hex, key, remove};
use crate::error::Error;
use crate::progress::CancelToken;

/// How often a process that waits for another's download looks again.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// A folder of fetched files.
pub(super) struct Store {
    dir: PathBuf,
}

/// What is known of an address whose file is kept: `KEY.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    sha256: String,
    name: String,
    pub(super) etag: Option<String>,
    size: u64,
    /// Nanoseconds since 1970. A file of this size and time is taken for the one that was digested.
    modified: u128,
}

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

impl Store {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn note(&self, url: &str) -> PathBuf {
        self.dir.join(format!("{}.json", key(url)))
    }

    /// The kept file of an address, if it is still what it was and has the digest that the address asks for.
    pub(super) fn find(
        &self,
        address: &Address,
        cancel: &CancelToken,
    ) -> Result<Option<(Known, PathBuf)>, Error> {
        let Some(known) = fs::read(self.note(&address.url))
            .ok()
            .and_then(|note| serde_json::from_slice::<Known>(&note).ok())
        else {
            return Ok(None);
        };
        if address.sha256.as_ref().is_some_and(|wanted| *wanted != known.sha256) {
            return Ok(None);
        }
        // The note is a file like any other: its words must not lead out of the folder.
        let plain = |text: &str| !text.is_empty() && !text.contains(['/', '\\']) && text != "..";
        if !plain(&known.sha256) || !plain(&known.name) {
            return Ok(None);
        }
        let path = self.dir.join(&known.sha256).join(&known.name);
        let same = match stamp(&path) {
            Ok(stamp) if stamp == (known.size, known.modified) => true,
            Ok(_) => digest_of(&path, cancel)? == known.sha256,
            Err(_) => false,
        };
        Ok(same.then_some((known, path)))
    }

    /// Drops an address and its content, for whoever found that it is of no use.
    pub(super) fn forget(&self, url: &str, path: &Path) {
        remove(&self.note(url));
        remove(path);
        if let Some(folder) = path.parent() {
            // Refused by the system unless it is empty.
            let _ = fs::remove_dir(folder);
        }
    }

    /// A file with this content under any name, checked.
    pub(super) fn find_content(
        &self,
        address: &Address,
        cancel: &CancelToken,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(sha256) = &address.sha256 else { return Ok(None) };
        let Ok(folder) = fs::read_dir(self.dir.join(sha256)) else { return Ok(None) };
        for entry in folder.flatten() {
            let path = entry.path();
            if path.is_file() && digest_of(&path, cancel)? == *sha256 {
                return self.keep_copy(&path, sha256, address).map(Some);
            }
        }
        Ok(None)
    }

    /// The same content under the name that the address gives it.
    fn keep_copy(&self, path: &Path, sha256: &str, address: &Address) -> Result<PathBuf, Error> {
        let named = self.dir.join(sha256).join(address.file_name());
        if !named.exists() {
            fs::hard_link(path, &named)
                .or_else(|_| fs::copy(path, &named).map(drop))
                .map_err(Error::file("create", &named))?;
        }
        self.write_note(&named, sha256, None, address)?;
        Ok(named)
    }

    /// Opens the part of an address and waits until no other process has it.
    pub(super) fn part(&self, address: &Address, cancel: &CancelToken) -> Result<Part, Error> {
        let made_dir = !self.dir.exists();
        fs::create_dir_all(&self.dir).map_err(Error::file("create", &self.dir))?;
        let path = self.dir.join(format!("{}.part", key(&address.url)));
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
            let mut part = Part { file, path, tag_path, length, tag, digest, made_dir };
            if part.tag.as_ref().is_none_or(|tag| part.length > tag.total) {
                part.restart(None)?;
            }
            return Ok(part);
        }
    }

    /// Gives a whole download its place and its note.
    pub(super) fn keep(
        &self,
        part: Part,
        etag: Option<String>,
        address: &Address,
    ) -> Result<PathBuf, Error> {
        part.file.sync_all().map_err(Error::file("write", &part.path))?;
        let sha256 = hex(part.digest.clone().finalize());
        if let Err(error) = address.check_digest(&sha256) {
            part.discard();
            return Err(error);
        }
        let path = self.place(&sha256, &address.file_name())?;
        fs::rename(&part.path, &path).map_err(Error::file("create", &path))?;
        remove(&part.tag_path);
        self.write_note(&path, &sha256, etag, address)?;
        Ok(path)
    }

    pub(super) fn keep_bytes(
        &self,
        bytes: &[u8],
        name: &str,
        address: &Address,
    ) -> Result<PathBuf, Error> {
        let sha256 = hex(Sha256::digest(bytes));
        address.check_digest(&sha256)?;
        let path = self.place(&sha256, name)?;
        write_whole(&path, bytes)?;
        Ok(path)
    }

    fn place(&self, sha256: &str, name: &str) -> Result<PathBuf, Error> {
        let folder = self.dir.join(sha256);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        Ok(folder.join(name))
    }

    fn write_note(
        &self,
        path: &Path,
        sha256: &str,
        etag: Option<String>,
        address: &Address,
    ) -> Result<(), Error> {
        let (size, modified) = stamp(path).map_err(read_failed(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = Known { sha256: sha256.to_owned(), name, etag, size, modified };
        let note = serde_json::to_vec(&known).expect("a note is plain data");
        write_whole(&self.note(&address.url), &note)
    }
}

impl Part {
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
}

/// The SHA-256 digest of a file, in lower-case digits.
pub(crate) fn digest_of(path: &Path, cancel: &CancelToken) -> Result<String, Error> {
    let mut file = File::open(path).map_err(read_failed(path))?;
    let mut digest = Sha256::new();
    feed(&mut file, &mut digest, cancel).map_err(read_failed(path))??;
    Ok(hex(digest.finalize()))
}

/// Digests a file from where it stands to its end; gives the bytes.
fn feed(
    file: &mut File,
    digest: &mut Sha256,
    cancel: &CancelToken,
) -> std::io::Result<Result<u64, Error>> {
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        if let Err(cancelled) = cancel.check() {
            return Ok(Err(cancelled));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Ok(length)),
            Ok(count) => {
                digest.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::file("read", path)
}

/// The size and the time of a file.
fn stamp(path: &Path) -> std::io::Result<(u64, u128)> {
    let found = fs::metadata(path)?;
    let since = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((found.len(), since.as_nanos()))
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

/// Writes a small file beside its place, then renames it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("a place in a folder");
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::file("create", path))?;
    file.write_all(bytes).map_err(Error::file("write", path))?;
    file.as_file().sync_all().map_err(Error::file("write", path))?;
    file.persist(path).map_err(|error| Error::file("create", path)(error.error))?;
    Ok(())
}
