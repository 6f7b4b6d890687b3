//! A file that is read once from its start to its end when it is opened, and then by position while it stays the same.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::hash::{Hash, hex};
use crate::error::Error;
use crate::progress::CancelToken;

/// The bytes of one read. The wish to stop is looked at between two.
const CHUNK: usize = 1 << 16;

/// The opening pass over a file: what is read is hashed.
pub(super) struct Pass {
    file: File,
    name: String,
    before: Metadata,
    hash: Hash,
    bytes: u64,
    cancel: CancelToken,
}

impl Pass {
    /// Opens a regular file.
    pub(super) fn open(path: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        cancel.check()?;
        let name = path.display().to_string();
        let before = path.metadata().map_err(Error::file("read", path))?;
        if !before.is_file() {
            let kind = if before.is_dir() { "a folder" } else { "no regular file" };
            return Err(Error::Data { place: name, reason: format!("it is {kind}") });
        }
        let file = File::open(path).map_err(Error::file("read", path))?;
        let before = file.metadata().map_err(Error::file("read", path))?;
        if before.len() == 0 {
            return Err(Error::Data { place: name, reason: "it is empty".to_owned() });
        }
        let (hash, cancel) = (Hash::default(), cancel.clone());
        Ok(Self { file, name, before, hash, bytes: 0, cancel })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// [`Error::Cancelled`] when the end was asked for.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.cancel.check()
    }

    pub(super) fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(CHUNK, self)
    }

    /// What a failed read is to the caller.
    pub(super) fn fault(&self, source: io::Error) -> Error {
        if self.cancel.is_cancelled() {
            return Error::Cancelled;
        }
        Error::file("read", Path::new(&self.name))(source)
    }

    /// Reads what is left and ends the pass.
    pub(super) fn drain(mut self) -> Result<Held, Error> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return self.end(),
                Ok(_) => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
    }

    /// Ends the pass; the file must have been read to its end.
    pub(super) fn end(self) -> Result<Held, Error> {
        self.cancel.check()?;
        let Self { file, name, before, hash, bytes, .. } = self;
        let after = file.metadata().map_err(Error::file("read", Path::new(&name)))?;
        if bytes != before.len() || after.len() != bytes || changed(&after) != changed(&before) {
            let reason = "it changed while it was read".to_owned();
            return Err(Error::Data { place: name, reason });
        }
        let modified = Mutex::new(changed(&before));
        Ok(Held { file, name, size: bytes, digest: hash.end(), modified })
    }
}

impl Read for Pass {
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

fn changed(data: &Metadata) -> Option<SystemTime> {
    data.modified().ok()
}

/// A file that is open, with what it was like when it was read.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    name: String,
    size: u64,
    digest: [u8; 32],
    modified: Mutex<Option<SystemTime>>,
}

impl Held {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn digest(&self) -> String {
        hex(&self.digest)
    }

    /// The bytes of a range within the file.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.stays()?;
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count];
        match self.file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.other()),
            Err(error) => Err(Error::file("read", Path::new(&self.name))(error)),
        }
    }

    /// That the content is not what was read at the opening.
    pub(super) fn other(&self) -> Error {
        let reason = "its content has changed since it was opened".to_owned();
        Error::Data { place: self.name.clone(), reason }
    }

    /// Compares size and time with those at the opening. A new time alone may be a `touch` or a copy over itself, which
    /// should not end a long run: the content decides then.
    fn stays(&self) -> Result<(), Error> {
        let fail = Error::file("read", Path::new(&self.name));
        let now = match self.file.metadata() {
            Ok(now) => now,
            Err(error) => return Err(fail(error)),
        };
        if now.len() != self.size {
            return Err(Error::Data {
                place: self.name.clone(),
                reason: format!(
                    "it has {} bytes, and had {} when it was opened",
                    now.len(),
                    self.size
                ),
            });
        }
        let mut known = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == changed(&now) {
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
            return Err(self.other());
        }
        *known = changed(&now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(path: &Path) -> Held {
        Pass::open(path, &CancelToken::new()).unwrap().drain().unwrap()
    }

    #[test]
    fn a_file_that_changes_is_an_error_and_a_touched_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "some text").unwrap();
        let file = held(&path);
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
    fn a_pass_can_be_cancelled_at_any_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, vec![b'x'; 3 * CHUNK]).unwrap();
        let cancel = CancelToken::new();
        let mut pass = Pass::open(&path, &cancel).unwrap();
        assert_eq!(pass.read(&mut [0; 10]).unwrap(), 10);
        cancel.cancel();
        let fault = pass.read(&mut [0; 10]).unwrap_err();
        assert!(matches!(pass.fault(fault), Error::Cancelled));
        assert!(matches!(Pass::open(&path, &cancel), Err(Error::Cancelled)));
    }

    #[test]
    fn what_is_no_file_with_content_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| match Pass::open(path, &CancelToken::new()) {
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
