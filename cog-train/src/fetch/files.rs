//! Small helpers for files on the disk: digests, stamps, and files that appear whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::partial;
use crate::progress::CancelToken;

/// The names of small files that are being written.
pub(super) const PREFIX: &str = ".fetch-";

/// Returns the SHA-256 digest of a file, in lower-case digits.
pub(crate) fn digest_of(path: &Path, cancel: &CancelToken) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::file("read", path))?;
    let mut digest = Sha256::new();
    digest_rest(&mut file, &mut digest, cancel).map_err(Error::file("read", path))??;
    Ok(hex(digest.finalize()))
}

/// The SHA-1 digests of a file.
pub(super) struct Sha1Digests {
    /// The name that git gives the content: the digest of a header and the content.
    pub(super) git: String,
    /// The digest of the content.
    pub(super) sha1: String,
}

/// Returns the SHA-1 digests of a file.
pub(super) fn sha1_of(path: &Path, cancel: &CancelToken) -> Result<Sha1Digests, Error> {
    let failed = || Error::file("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let length = file.metadata().map_err(failed())?.len();
    let mut git = Sha1::new_with_prefix(format!("blob {length}\0"));
    digest_rest(&mut file, &mut git, cancel).map_err(failed())??;
    file.rewind().map_err(failed())?;
    let mut sha1 = Sha1::new();
    digest_rest(&mut file, &mut sha1, cancel).map_err(failed())??;
    Ok(Sha1Digests { git: hex(git.finalize()), sha1: hex(sha1.finalize()) })
}

/// Digests a file from its position to its end, and returns the number of bytes.
pub(super) fn digest_rest(
    file: &mut File,
    digest: &mut impl Digest,
    cancel: &CancelToken,
) -> io::Result<Result<u64, Error>> {
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
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the lower-case digits of bytes.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// The size of a file and its time of modification, in nanoseconds since 1970.
#[derive(PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) modified: u128,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let since = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { size: found.len(), modified: since.as_nanos() })
    }
}

/// Writes a small file durably under a partial name in `dir`, then renames it to `path` on the same file system.
pub(crate) fn write_atomic(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let mut file = partial::file(dir, PREFIX).map_err(Error::file("create", path))?;
    file.write_all(bytes).map_err(Error::file("write", path))?;
    file.as_file().sync_all().map_err(Error::file("write", path))?;
    file.persist(path).map_err(|error| Error::file("create", path)(error.error))?;
    Ok(())
}

/// Removes a file if it can.
pub(super) fn remove(path: &Path) {
    // A file that does not exist is what the caller wants; one that stays is overwritten next time.
    let _ = fs::remove_file(path);
}
