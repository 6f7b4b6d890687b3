//! The bytes of a header, counted.

use std::io::Read;

use crate::error::plain_io;

/// The reader of a header. It never allocates by a length that it has not compared with the bytes that are left.
pub(super) struct Source<R> {
    inner: R,
    /// The bytes that were read.
    position: u64,
    /// The bytes of the file, or the most of a header.
    end: u64,
}

impl<R: Read> Source<R> {
    /// Reads from the start of a file, as far as the byte `end`.
    pub(super) fn new(inner: R, end: u64) -> Self {
        Self { inner, position: 0, end }
    }

    /// The bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }

    /// Reads a fixed number of bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.advance(N as u64)?;
        self.inner.read_exact(&mut bytes).map_err(|error| plain_io(&error))?;
        Ok(bytes)
    }

    /// Reads a length and as many bytes of UTF-8.
    pub(super) fn string(&mut self) -> Result<String, String> {
        let length = u64::from_le_bytes(self.array()?);
        self.advance(length)?;
        let mut bytes = Vec::new();
        (&mut self.inner).take(length).read_to_end(&mut bytes).map_err(|error| plain_io(&error))?;
        if bytes.len() as u64 != length {
            return Err(TRUNCATED.to_owned());
        }
        String::from_utf8(bytes).map_err(|_| "is a text that is not UTF-8".to_owned())
    }

    fn advance(&mut self, count: u64) -> Result<(), String> {
        if count > self.left() {
            return Err(TRUNCATED.to_owned());
        }
        self.position += count;
        Ok(())
    }
}

/// The reason for which a file is refused that ends within its header.
const TRUNCATED: &str = "is truncated: the file ends within its header";
