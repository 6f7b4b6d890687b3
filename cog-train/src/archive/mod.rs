//! A reader of `.tar`, `.tar.gz`, `.tar.zst` and `.zip` for untrusted archives, and a writer of `.tar`.
//!
//! An archive holds regular files and folders, under plain names, each once; anything else is refused by its name. The
//! rules, one by one:
//!
//! - **Names** are UTF-8, relative, of parts between slashes. Refused: an empty name, `..`, an absolute name or a drive
//!   letter, a backslash, control characters, an empty part or a `.` inside (a leading `./` is dropped), more than
//!   [`Limits::name_bytes`], a part of more than 255 bytes, more than [`Limits::depth`] parts. Two names that differ only
//!   in case are refused as well, for they are one file on half of the systems; so is a name that is a file and a folder.
//! - **Kinds**: files and folders. Links, devices, pipes and sparse files are refused. No mode, owner or time is kept.
//! - **Sizes** stay within [`Limits`], for the whole, for a member, and against the size of the archive itself. Folders
//!   that names imply count as members do.
//! - **One reading only**: where two readers of the format could see different members, the archive is refused: a pax
//!   size against a header's, a zip directory against its local headers, overlaps, gaps, data before the first or after
//!   the last member. Checksums must match, and the end must be there.
//!
//! The content decides about the format; a name that ends in another format's extension is refused.
//!
//! [`read`] hands out one member after the other; [`unpack`] writes them into a folder, all or none.

mod compare;
mod format;
mod limits;
mod names;
#[cfg(feature = "serve")]
mod pack;
mod stream;
mod tar;
#[cfg(test)]
mod tests;
mod unpack;
mod zip;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

pub use format::Format;
pub use limits::Limits;
#[cfg(feature = "serve")]
pub(crate) use pack::pack;
pub use unpack::unpack;
pub(crate) use unpack::unpack_cached;

use crate::error::Error;
use stream::{Refusal, Stopped, refuse};

/// The kinds of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// A member of an archive, as [`read`] hands it out. Reading it gives the file's bytes.
pub struct Member<'a> {
    name: &'a str,
    kind: Kind,
    size: u64,
    body: &'a mut dyn Read,
    /// The error of reading the body. It takes precedence over the caller's result.
    fault: Option<io::Error>,
}

impl Member<'_> {
    /// Returns its checked name: UTF-8, relative, parts between slashes, no slash at the end.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns whether it is a file or a folder.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the bytes of the file; 0 for a folder.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.body.read(buffer) {
            Err(fault) if fault.kind() != io::ErrorKind::Interrupted => {
                let copy = io::Error::new(fault.kind(), fault.to_string());
                self.fault.get_or_insert(fault);
                Err(copy)
            }
            other => other,
        }
    }
}

/// The callback that the readers run for each member.
type Visit<'a> = dyn FnMut(&mut Member<'_>) -> io::Result<()> + 'a;

/// Hands out one member, then reads what the caller left of it, so that sizes and checksums are always verified.
fn hand_out(
    name: &str,
    kind: Kind,
    size: u64,
    body: &mut dyn Read,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let mut member = Member { name, kind, size, body, fault: None };
    let visited = visit(&mut member);
    if let Some(fault) = member.fault {
        return Err(fault);
    }
    visited?;
    io::copy(member.body, &mut io::sink())?;
    Ok(())
}

/// Reads the archive at `path` and hands its members to `each`, in the order in which they are stored.
///
/// Bytes that `each` does not read are skipped and verified all the same. Members before a bad one have been handed out when
/// the error comes: a caller that needs all or nothing must hold its results back, as [`unpack`] does.
///
/// ```
/// use std::io::Read;
/// use cog_train::archive::{self, Kind, Limits};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("texts.tar");
/// # let mut header = [0_u8; 512];
/// # header[..5].copy_from_slice(b"a.txt");
/// # header[124..135].copy_from_slice(b"00000000002");
/// # header[148..156].fill(b' ');
/// # header[156] = b'0';
/// # let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
/// # header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
/// # let mut bytes = header.to_vec();
/// # bytes.extend(b"hi");
/// # bytes.resize(512 * 4, 0);
/// # std::fs::write(&path, bytes)?;
/// let mut texts = Vec::new();
/// archive::read(&path, &Limits::default(), |member| {
///     if member.kind() == Kind::File {
///         let mut text = String::new();
///         member.read_to_string(&mut text).expect("text");
///         texts.push((member.name().to_owned(), text));
///     }
///     Ok(())
/// })?;
/// assert_eq!(texts, [("a.txt".to_owned(), "hi".to_owned())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Archive`] when the archive is broken or breaks a rule, [`Error::File`] when the file cannot be read, or
/// what `each` returned.
pub fn read(
    path: &Path,
    limits: &Limits,
    each: impl FnMut(&mut Member<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::file("read", path))?;
    let named = path.file_name().and_then(|name| Format::of_name(name.to_str()?));
    run(BufReader::with_capacity(1 << 16, file), path, named, limits, each)
}

/// Reads an archive as [`read`] does, from memory or from any other source; errors name it `name`.
///
/// # Errors
///
/// Those of [`read`].
pub fn read_from(
    source: impl BufRead + Seek,
    name: &str,
    limits: &Limits,
    each: impl FnMut(&mut Member<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    run(source, Path::new(name), None, limits, each)
}

fn run(
    source: impl BufRead + Seek,
    path: &Path,
    named: Option<Format>,
    limits: &Limits,
    mut each: impl FnMut(&mut Member<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut stopped = None;
    let done = by_format(source, named, limits, &mut |member| {
        each(member).map_err(|error| {
            stopped = Some(error);
            io::Error::other(Stopped)
        })
    });
    done.map_err(|fault| {
        let inner = fault.get_ref();
        if let Some(Refusal(reason)) = inner.and_then(|inner| inner.downcast_ref()) {
            return Error::Archive { location: path.display().to_string(), reason: reason.clone() };
        }
        match stopped {
            Some(error)
                if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>) =>
            {
                error
            }
            _ => Error::file("read", path)(fault),
        }
    })
}

fn by_format(
    mut source: impl BufRead + Seek,
    named: Option<Format>,
    limits: &Limits,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let mut start = Vec::with_capacity(tar::BLOCK);
    source.by_ref().take(tar::BLOCK as u64).read_to_end(&mut start)?;
    let size = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;

    if start.is_empty() {
        return Err(refuse("is empty"));
    }
    let format = match (Format::of_content(&start), named) {
        (Some(found), Some(named)) if found != named => {
            return Err(refuse(format!(
                "is named like {} but holds {} data",
                named.name(),
                found.name()
            )));
        }
        (Some(found), _) => found,
        (None, Some(named)) => {
            return Err(refuse(format!("is named like {} but is none", named.name())));
        }
        (None, None) => return Err(refuse("is neither tar, tar.gz, tar.zst nor zip")),
    };
    let mut meter = |decoded: &mut dyn Read| {
        tar::read(&mut stream::Meter::new(decoded, size, limits), size, limits, visit)
    };
    match format {
        Format::Tar => meter(&mut source),
        Format::TarGz => meter(&mut stream::gunzip(source)),
        Format::TarZst => meter(&mut stream::unzstd(source)?),
        Format::Zip => zip::read(source, size, limits, visit),
    }
}
