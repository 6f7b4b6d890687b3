//! A file that is read and hashed once when it is opened, and then read by position while its content stays the same.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::hash::Hash;
use crate::error::{Error, counted};
use crate::fetch::hex;
use crate::progress::CancelToken;

/// The bytes of one read. Cancellation is checked between reads.
const CHUNK: usize = 1 << 16;

/// Reads a file from its start to its end and hashes what it reads.
pub(super) struct HashingReader {
    file: File,
    name: String,
    before: Metadata,
    hash: Hash,
    bytes: u64,
    cancel: CancelToken,
}

impl HashingReader {
    /// Opens a regular file.
    pub(super) fn open(path: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        cancel.check()?;
        let name = path.display().to_string();
        let before = path.metadata().map_err(Error::file("read", path))?;
        if !before.is_file() {
            let kind = if before.is_dir() { "a folder" } else { "no regular file" };
            return Err(Error::Data { location: name, reason: format!("it is {kind}") });
        }
        let file = File::open(path).map_err(Error::file("read", path))?;
        let before = file.metadata().map_err(Error::file("read", path))?;
        if before.len() == 0 {
            return Err(Error::Data { location: name, reason: "it is empty".to_owned() });
        }
        let (hash, cancel) = (Hash::default(), cancel.clone());
        Ok(Self { file, name, before, hash, bytes: 0, cancel })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns [`Error::Cancelled`] once the token is cancelled.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.cancel.check()
    }

    pub(super) fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(CHUNK, self)
    }

    /// Converts the error of a read.
    pub(super) fn read_error(&self, source: io::Error) -> Error {
        if self.cancel.is_cancelled() {
            return Error::Cancelled;
        }
        Error::file("read", Path::new(&self.name))(source)
    }

    /// Reads what is left and returns the file.
    pub(super) fn drain(mut self) -> Result<HashedFile, Error> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return self.finish(),
                Ok(_) => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// Returns the file, which must have been read to its end.
    pub(super) fn finish(self) -> Result<HashedFile, Error> {
        self.cancel.check()?;
        let Self { file, name, before, hash, bytes, .. } = self;
        let after = file.metadata().map_err(Error::file("read", Path::new(&name)))?;
        if bytes != before.len() || after.len() != bytes || modified(&after) != modified(&before) {
            let reason = "it changed while it was read".to_owned();
            return Err(Error::Data { location: name, reason });
        }
        let modified = Mutex::new(modified(&before));
        Ok(HashedFile { file, name, size: bytes, digest: hash.end(), modified })
    }
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let count = loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.hash.bytes(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

fn modified(data: &Metadata) -> Option<SystemTime> {
    data.modified().ok()
}

/// An open file with its size, digest and time of modification.
#[derive(Debug)]
pub(super) struct HashedFile {
    file: File,
    name: String,
    size: u64,
    digest: [u8; 32],
    modified: Mutex<Option<SystemTime>>,
}

impl HashedFile {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn digest(&self) -> String {
        hex(self.digest)
    }

    /// Reads a range of bytes.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.check_unchanged()?;
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count];
        match self.file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.content_changed())
            }
            Err(error) => Err(Error::file("read", Path::new(&self.name))(error)),
        }
    }

    /// Returns the error for content that is not what was hashed.
    pub(super) fn content_changed(&self) -> Error {
        let reason = "its content has changed since it was opened".to_owned();
        Error::Data { location: self.name.clone(), reason }
    }

    /// Compares size and time of modification with those at the opening. A new time alone may be a `touch`, which should
    /// not end a long run: then the content is hashed again.
    fn check_unchanged(&self) -> Result<(), Error> {
        let fail = Error::file("read", Path::new(&self.name));
        let now = match self.file.metadata() {
            Ok(now) => now,
            Err(error) => return Err(fail(error)),
        };
        if now.len() != self.size {
            return Err(Error::Data {
                location: self.name.clone(),
                reason: format!(
                    "it has {}, and had {} when it was opened",
                    counted(now.len(), "byte"),
                    self.size
                ),
            });
        }
        let mut known = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == modified(&now) {
            return Ok(());
        }
        let (mut hash, mut at, mut bytes) = (Hash::default(), 0, vec![0; CHUNK]);
        loop {
            match self.file.read_at(&mut bytes, at) {
                Ok(0) => break,
                Ok(count) => {
                    hash.bytes(&bytes[..count]);
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fail(error)),
            }
        }
        if hash.end() != self.digest {
            return Err(self.content_changed());
        }
        *known = modified(&now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path) -> HashedFile {
        HashingReader::open(path, &CancelToken::new()).unwrap().drain().unwrap()
    }

    #[test]
    fn reading_fails_when_the_content_changed_and_not_when_the_time_did() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "some text").unwrap();
        let file = opened(&path);
        assert_eq!(file.read(5..9).unwrap(), b"text");
        let touched = File::options().write(true).open(&path).unwrap();
        let later = |seconds| SystemTime::now() + std::time::Duration::from_secs(seconds);
        touched.set_modified(later(10)).unwrap();
        assert_eq!(file.read(5..9).unwrap(), b"text");
        touched.write_all_at(b"TEXT", 5).unwrap();
        touched.set_modified(later(20)).unwrap();
        let error = file.read(0..4).unwrap_err().to_string();
        assert!(error.ends_with("its content has changed since it was opened"), "{error}");
        touched.set_len(4).unwrap();
        let error = file.read(0..4).unwrap_err().to_string();
        assert!(error.ends_with("a.txt`: it has 4 bytes, and had 9 when it was opened"), "{error}");
    }

    #[test]
    fn cancellation_stops_the_next_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, vec![b'x'; 3 * CHUNK]).unwrap();
        let cancel = CancelToken::new();
        let mut pass = HashingReader::open(&path, &cancel).unwrap();
        assert_eq!(pass.read(&mut [0; 10]).unwrap(), 10);
        cancel.cancel();
        let fault = pass.read(&mut [0; 10]).unwrap_err();
        assert!(matches!(pass.read_error(fault), Error::Cancelled));
        assert!(matches!(HashingReader::open(&path, &cancel), Err(Error::Cancelled)));
    }

    #[test]
    fn folders_missing_files_and_empty_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| match HashingReader::open(path, &CancelToken::new()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(refused(dir.path()).ends_with("`: it is a folder"));
        let path = dir.path().join("none");
        assert!(refused(&path).ends_with("none`: no such file or directory"));
        std::fs::write(&path, "").unwrap();
        assert!(refused(&path).ends_with("none`: it is empty"));
    }
}
