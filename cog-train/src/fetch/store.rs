//! The folder of a [`Fetcher`](super::Fetcher): files by their content, and notes by their address.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::address::Address;
use super::files::{PREFIX, Stamp, digest_of, hex, remove, write_atomic};
use super::part::{self, Part};
use crate::error::Error;
use crate::partial;
use crate::progress::CancelToken;
use crate::read;

/// A folder of fetched files.
pub(super) struct Store {
    dir: PathBuf,
}

/// The note about an address whose file is kept: `KEY.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    sha256: String,
    name: String,
    etag: Option<String>,
    size: u64,
    /// Nanoseconds since 1970. Unless a digest is given, a file of this size and time counts as unchanged.
    modified: u128,
}

impl Note {
    fn stamp(&self) -> Stamp {
        Stamp { size: self.size, modified: self.modified }
    }
}

/// A kept file of an address.
pub(super) struct Found {
    pub(super) etag: Option<String>,
    pub(super) path: PathBuf,
}

impl Store {
    /// Opens a folder, which need not exist, and removes what killed processes left there.
    pub(super) fn open(dir: &Path) -> Self {
        partial::sweep(dir, PREFIX);
        part::sweep(dir);
        Self { dir: dir.to_owned() }
    }

    /// Opens the download of an address, and waits until no other process holds it.
    pub(super) fn part(&self, address: &Address, cancel: &CancelToken) -> Result<Part, Error> {
        Part::open(&self.dir, &key(&address.url), cancel)
    }

    fn note_path(&self, url: &str) -> PathBuf {
        self.dir.join(format!("{}.json", key(url)))
    }

    /// Returns the kept file of an address, if it is unchanged and has the digest that the address gives.
    pub(super) fn find(
        &self,
        address: &Address,
        cancel: &CancelToken,
    ) -> Result<Option<Found>, Error> {
        let Some(note) = read::file(&self.note_path(&address.url), read::JSON_BYTES)
            .ok()
            .and_then(|note| serde_json::from_slice::<Note>(&note).ok())
        else {
            return Ok(None);
        };
        if address.sha256.as_ref().is_some_and(|wanted| *wanted != note.sha256) {
            return Ok(None);
        }
        // The note is a file like any other: its words must not lead out of the folder.
        let plain = |text: &str| !text.is_empty() && !text.contains(['/', '\\']) && text != "..";
        if !plain(&note.sha256) || !plain(&note.name) {
            return Ok(None);
        }
        let path = self.dir.join(&note.sha256).join(&note.name);
        let unchanged = match Stamp::of(&path) {
            // Whoever gives a digest wants these bytes, and a size and a time can be forged.
            Ok(stamp) if address.sha256.is_none() && stamp == note.stamp() => true,
            Ok(_) => digest_of(&path, cancel)? == note.sha256,
            Err(_) => false,
        };
        Ok(unchanged.then_some(Found { etag: note.etag, path }))
    }

    /// Removes an address and its content.
    pub(super) fn forget(&self, url: &str, path: &Path) {
        remove(&self.note_path(url));
        remove(path);
        if let Some(folder) = path.parent() {
            // Refused by the system unless it is empty.
            let _ = fs::remove_dir(folder);
        }
    }

    /// Returns a file with the digest that the address gives, whatever address it came from.
    pub(super) fn find_content(
        &self,
        address: &Address,
        cancel: &CancelToken,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(sha256) = &address.sha256 else { return Ok(None) };
        let folder = self.dir.join(sha256);
        let named = folder.join(address.file_name());
        if named.is_file() && digest_of(&named, cancel)? == *sha256 {
            self.write_note(&named, sha256, None, address)?;
            return Ok(Some(named));
        }
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(None) };
        for entry in entries.flatten() {
            let path = entry.path();
            if path != named && path.is_file() && digest_of(&path, cancel)? == *sha256 {
                self.copy(&path, &named).map_err(Error::file("create", &named))?;
                self.write_note(&named, sha256, None, address)?;
                return Ok(Some(named));
            }
        }
        Ok(None)
    }

    /// Gives a file a second name, replacing any file of that name. A file system without hard links gets a copy.
    fn copy(&self, path: &Path, named: &Path) -> io::Result<()> {
        remove(named);
        if fs::hard_link(path, named).is_ok() {
            return Ok(());
        }
        let mut file = partial::file(&self.dir, PREFIX)?;
        io::copy(&mut File::open(path)?, file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(named)?;
        Ok(())
    }

    /// Keeps a whole download under its digest, with a note.
    pub(super) fn keep(
        &self,
        part: Part,
        etag: Option<String>,
        address: &Address,
    ) -> Result<PathBuf, Error> {
        let sha256 = part.finish()?;
        if let Err(error) = address.check_digest(&sha256) {
            part.discard();
            return Err(error);
        }
        let path = self.path_for(&sha256, &address.file_name())?;
        // Before the rename: after it the next process may open a part, and looks for the note first.
        self.write_note(part.path(), &sha256, etag, address)?;
        part.persist(&path)?;
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
        let path = self.path_for(&sha256, name)?;
        write_atomic(&self.dir, &path, bytes)?;
        Ok(path)
    }

    /// Creates the folder of a digest, and returns the path of a file in it.
    fn path_for(&self, sha256: &str, name: &str) -> Result<PathBuf, Error> {
        let folder = self.dir.join(sha256);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        Ok(folder.join(name))
    }

    /// Writes the note of an address whose content is in the file `path`, which may still be renamed.
    fn write_note(
        &self,
        path: &Path,
        sha256: &str,
        etag: Option<String>,
        address: &Address,
    ) -> Result<(), Error> {
        let Stamp { size, modified } = Stamp::of(path).map_err(Error::file("read", path))?;
        let note =
            Note { sha256: sha256.to_owned(), name: address.file_name(), etag, size, modified };
        let note = serde_json::to_vec(&note).expect("a note is plain data");
        write_atomic(&self.dir, &self.note_path(&address.url), &note)
    }
}

/// The name of a download and of its note, by the address.
fn key(url: &str) -> String {
    hex(&Sha256::digest(url)[..16])
}
