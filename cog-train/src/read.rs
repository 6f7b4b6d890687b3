//! Files that a user names, read whole up to a limit: a path may just as well be `/dev/zero`, a pipe or a data set.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::config::{Config, ConfigError, MAX_BYTES, Names, Note};
use crate::error::Error;

/// The most bytes of a JSON file that this program wrote: a record, a manifest.
pub(crate) const JSON_BYTES: u64 = 256 << 20;

/// Reads to the end of `source`, or fails with [`io::ErrorKind::FileTooLarge`] once there are more than `limit` bytes.
pub(crate) fn bytes(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte beyond the limit proves that there is more; nothing after it is read.
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

fn too_large(limit: u64) -> io::Error {
    let message = format!("larger than the limit of {limit} bytes");
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// [`Error::File`], also for a larger file.
pub(crate) fn file(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    file_bytes(path, limit).map_err(Error::file("read", path))
}

/// Does the same as [`file`] with the system's error. A file that is too large by its length is not read at all.
pub(crate) fn file_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > limit {
        return Err(too_large(limit));
    }
    bytes(file, limit)
}

/// Fills `bytes` from the byte `at` of a file. A file that ends before is an [`io::ErrorKind::UnexpectedEof`].
#[cfg(unix)]
pub(crate) fn exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Fills `bytes` from the byte `at` of a file. A file that ends before is an [`io::ErrorKind::UnexpectedEof`].
#[cfg(windows)]
pub(crate) fn exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !bytes.is_empty() {
        match file.seek_read(bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                bytes = &mut bytes[count..];
                at += count as u64;
            }
        }
    }
    Ok(())
}

/// The methods that open a file. The rest of [`Config`] is about text alone.
impl Config {
    /// Reads a file as [`Config::parse`] reads its text.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read or is too large to be a `cog.yaml`, [`Error::Config`] with every mistake
    /// in it.
    pub fn read(path: impl AsRef<Path>) -> Result<(Self, Vec<Note>), Error> {
        parsed(path.as_ref(), |text, name| Self::parse(text, name))
    }

    /// Checks a file as [`Config::check`] checks its text.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read or is too large to be a `cog.yaml`, [`Error::Config`] with every mistake
    /// in it.
    pub fn check_file(
        path: impl AsRef<Path>,
        names: &Names<'_>,
        exists: impl Fn(&str) -> bool,
    ) -> Result<(Self, Vec<Note>), Error> {
        parsed(path.as_ref(), |text, name| Self::check(text, name, names, exists))
    }
}

fn parsed<T>(
    path: &Path,
    read: impl FnOnce(&[u8], &str) -> Result<T, ConfigError>,
) -> Result<T, Error> {
    let text = file(path, MAX_BYTES as u64)?;
    Ok(read(&text, &path.display().to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_up_to_its_limit_and_never_beyond() {
        assert_eq!(bytes(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(bytes(&b""[..], 0).unwrap(), b"");
        let mut endless = io::repeat(0);
        let error = bytes(&mut endless, 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "larger than the limit of 1000 bytes");
        let mut source = &b"abcdef"[..];
        assert!(bytes(&mut source, 3).is_err());
        assert_eq!(source, b"ef", "one byte beyond the limit is read");
    }

    #[test]
    fn a_file_that_is_too_large_is_named_with_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cog.yaml");
        let at = path.display();
        std::fs::write(&path, vec![b'#'; MAX_BYTES]).unwrap();
        assert!(Config::read(&path).is_ok());
        assert!(Config::check_file(&path, &Names::default(), |_| true).is_ok());
        std::fs::write(&path, vec![b'#'; MAX_BYTES + 1]).unwrap();
        let expected = format!("cannot read `{at}`: larger than the limit of 262144 bytes");
        assert_eq!(Config::read(&path).unwrap_err().to_string(), expected);
        let checked = Config::check_file(&path, &Names::default(), |_| true);
        assert_eq!(checked.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_file_that_is_too_large_by_its_length_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        // Larger than the memory of any machine, and sparse.
        File::create(&path).unwrap().set_len(1 << 42).unwrap();
        let error = file(&path, JSON_BYTES).unwrap_err().to_string();
        assert!(error.ends_with("larger than the limit of 268435456 bytes"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_refused() {
        for result in [
            Config::read("/dev/zero"),
            Config::check_file("/dev/zero", &Names::default(), |_| true),
        ] {
            let message = result.unwrap_err().to_string();
            assert_eq!(message, "cannot read `/dev/zero`: larger than the limit of 262144 bytes");
        }
    }
}
