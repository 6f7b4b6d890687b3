//! A file of lines that only grows, and the digest of its content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::events::append;
use crate::error::{Error, counted};

/// A file that lines are appended to.
pub(super) struct Lines {
    path: PathBuf,
    pub(super) file: File,
    /// The length when this process opened it.
    pub(super) found: u64,
    /// Of what was found and what was written since.
    content: Content,
}

/// The length of a content in bytes, and its hash.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) length: u64,
    hash: Sha256,
}

impl Content {
    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// Reads the content of a file up to a length.
    fn read(path: &Path, length: u64) -> Result<Self, Error> {
        let (mut content, mut buffer) = (Self::default(), vec![0; 1 << 16]);
        let mut read = || {
            let mut file = File::open(path)?.take(length);
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => content.add(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        read().map_err(Error::file("read", path))?;
        Ok(content)
    }

    /// Returns the first 8 bytes of the SHA-256; `None` without content.
    pub(super) fn digest(&self) -> Option<u64> {
        let digest = self.hash.clone().finalize();
        (self.length > 0).then(|| u64::from_be_bytes(digest[..8].try_into().expect("8 bytes")))
    }
}

impl Lines {
    /// Opens a file; what is there stays, and new lines come after it.
    pub(super) fn open(dir: &Path, name: &str) -> Result<Self, Error> {
        let path = dir.join(name);
        let file = append(&path)?;
        let content = Content::read(&path, u64::MAX)?;
        Ok(Self { path, file, found: content.length, content })
    }

    /// Appends a line by one write: a process that is killed leaves whole lines.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.content.add(line.as_bytes());
        Ok(())
    }

    /// Returns the content. It is read again when somebody else changed the length, or a write failed.
    pub(super) fn mark(&self) -> Result<Content, Error> {
        match length(&self.file, &self.path)? {
            length if length == self.content.length => Ok(self.content.clone()),
            _ => Content::read(&self.path, u64::MAX),
        }
    }

    /// Returns how the file that was found differs from the one that had a length and a digest.
    pub(super) fn differs(&self, mark: u64, digest: Option<u64>) -> Result<Option<String>, Error> {
        let path = self.path.display();
        if self.found < mark {
            let found = counted(self.found, "byte");
            return Ok(Some(format!(
                "`{path}` has {found}, fewer than the {mark} of the checkpoint"
            )));
        }
        let same = digest.is_none() || Content::read(&self.path, mark)?.digest() == digest;
        Ok((!same).then(|| format!("`{path}` is not as it was at the checkpoint")))
    }

    /// Truncates the file to a length, if it is longer.
    pub(super) fn truncate(&mut self, mark: u64) -> Result<(), Error> {
        let length = length(&self.file, &self.path)?.min(mark);
        self.file
            .set_len(length)
            .and_then(|()| self.file.sync_all())
            .map_err(Error::file("truncate", &self.path))?;
        self.content = Content::read(&self.path, length)?;
        Ok(())
    }

    /// Removes what was there when the file was opened.
    pub(super) fn forget_earlier(&mut self) -> Result<(), Error> {
        let mut own = Vec::new();
        let found = std::mem::take(&mut self.found);
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(found))?;
                file.read_to_end(&mut own)
            })
            .map_err(Error::file("read", &self.path))?;
        // Appending: what is written comes after the cut.
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all(&own))
            .and_then(|()| self.file.sync_all())
            .map_err(Error::file("truncate", &self.path))?;
        self.content = Content::default();
        self.content.add(&own);
        Ok(())
    }
}

/// Returns the length of an open file.
pub(super) fn length(file: &File, path: &Path) -> Result<u64, Error> {
    Ok(file.metadata().map_err(Error::file("read", path))?.len())
}
