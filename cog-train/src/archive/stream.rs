//! The streams under a tar: decompression with readable errors, and a meter that stops a bomb.
//!
//! Inside this module every error is an `io::Error`, so that a reason passes through any `Read`; [`Refusal`] is the
//! reason that a user sees.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::Limits;

/// Why an archive is refused.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// Marks that the caller stopped the reading by an error of its own.
#[derive(Debug)]
pub(super) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped by the caller")
    }
}

impl std::error::Error for Stopped {}

pub(super) fn refuse(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Refusal(reason.into()))
}

/// Counts the bytes that come out and refuses more than the limits allow.
pub(super) struct Meter<'a> {
    inner: &'a mut dyn Read,
    out: u64,
    size: u64,
    limits: &'a Limits,
}

impl<'a> Meter<'a> {
    /// A meter over `inner`, which unpacks an archive of `size` bytes.
    pub(super) fn new(inner: &'a mut dyn Read, size: u64, limits: &'a Limits) -> Self {
        Self { inner, out: 0, size, limits }
    }
}

impl Read for Meter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.out += count as u64;
        self.limits.check_total(self.out, self.size).map_err(refuse)?;
        Ok(count)
    }
}

/// Reads exactly `left` bytes; an earlier end is a fault.
pub(super) struct Exact<'a> {
    pub(super) inner: &'a mut dyn Read,
    pub(super) left: u64,
    /// The reason of an earlier end.
    pub(super) short: &'a str,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(refuse(self.short));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// A decoder whose errors name the format and the fault.
struct Explained<R> {
    inner: R,
    format: &'static str,
}

impl<R: Read> Read for Explained<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| explain(error, self.format))
    }
}

fn explain(error: io::Error, format: &str) -> io::Error {
    let inner = error.get_ref();
    if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Refusal>)
        || error.raw_os_error().is_some()
        || error.kind() == io::ErrorKind::Interrupted
    {
        return error;
    }
    if let Some(reason) = inner.and_then(|inner| zstd_reason(inner.downcast_ref()?)) {
        return refuse(reason);
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return refuse(format!("is truncated: its {format} data ends early"));
    }
    refuse(format!("has corrupt {format} data"))
}

/// Why zstd refuses data that is not corrupt.
fn zstd_reason(error: &zstd::Error) -> Option<&'static str> {
    use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode as Code;
    [
        (
            Code::ZSTD_error_frameParameter_windowTooLarge,
            "has zstd data with a window of more than the limit of 128 MiB\n\
             hint: compress it again without `--long`, or with `--long=27`",
        ),
        (
            Code::ZSTD_error_dictionary_wrong,
            "has zstd data that needs a dictionary\nhint: compress it again without `-D`",
        ),
        (Code::ZSTD_error_frameParameter_unsupported, "has zstd data of an unsupported version"),
        (Code::ZSTD_error_version_unsupported, "has zstd data of an unsupported version"),
        (Code::ZSTD_error_memory_allocation, "has zstd data that needs more memory than there is"),
    ]
    .into_iter()
    .find_map(|(code, reason)| error.is(code).then_some(reason))
}

pub(super) fn gunzip(source: impl BufRead) -> impl Read {
    Explained {
        inner: Gunzip { now: Some(flate2::bufread::GzDecoder::new(source)) },
        format: "gzip",
    }
}

/// Gzip members one after the other (`bgzip` writes many); anything else after one is refused, where common readers
/// ignore it.
struct Gunzip<R> {
    now: Option<flate2::bufread::GzDecoder<R>>,
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.now {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut source = self.now.take().expect("it was just used").into_inner();
            let rest = source.fill_buf()?;
            if rest.is_empty() {
                return Ok(0);
            }
            if rest[0] != 0x1f {
                return Err(refuse("has bytes after the end of its gzip data"));
            }
            self.now = Some(flate2::bufread::GzDecoder::new(source));
        }
        Ok(0)
    }
}

pub(super) fn unzstd(source: impl BufRead) -> io::Result<impl Read> {
    /// A window of 128 MiB, zstd's own default for a reader; a hostile frame may ask for gigabytes.
    const WINDOW_LOG: u32 = 27;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(Explained { inner: decoder, format: "zstd" })
}
