//! The folder of a [`Fetcher`](super::Fetcher): files by their content, and notes by their address.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::Address;
use super::part::Part;
use super::{hex, key, remove};
use crate::error::Error;
use crate::progress::CancelToken;

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

    /// Gives a whole download its place and its note.
    pub(super) fn keep(
        &self,
        part: Part,
        etag: Option<String>,
        address: &Address,
    ) -> Result<PathBuf, Error> {
        let (from, sha256) = part.finish()?;
        if let Err(error) = address.check_digest(&sha256) {
            part.discard();
            return Err(error);
        }
        let path = self.place(&sha256, &address.file_name())?;
        fs::rename(from, &path).map_err(Error::file("create", &path))?;
        part.moved();
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

/// The SHA-256 digest of a file, in lower-case digits.
pub(crate) fn digest_of(path: &Path, cancel: &CancelToken) -> Result<String, Error> {
    let mut file = File::open(path).map_err(read_failed(path))?;
    let mut digest = Sha256::new();
    feed(&mut file, &mut digest, cancel).map_err(read_failed(path))??;
    Ok(hex(digest.finalize()))
}

/// Digests a file from where it stands to its end; gives the bytes.
pub(super) fn feed(
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

pub(super) fn read_failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::file("read", path)
}

/// The size and the time of a file.
fn stamp(path: &Path) -> std::io::Result<(u64, u128)> {
    let found = fs::metadata(path)?;
    let since = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((found.len(), since.as_nanos()))
}

/// Writes a small file beside its place, then renames it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("a place in a folder");
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::file("create", path))?;
    file.write_all(bytes).map_err(Error::file("write", path))?;
    file.as_file().sync_all().map_err(Error::file("write", path))?;
    file.persist(path).map_err(|error| Error::file("create", path)(error.error))?;
    Ok(())
}
