//! Files that are digested and written in blocks.

use std::io::{self, Write};

use twox_hash::XxHash3_128;

use super::disk::Sink;
use super::manifest::hex;

/// The size of a block in bytes.
const BLOCK: usize = 1 << 20;
/// The alignment of a block in memory. No device needs more.
const ALIGNMENT: usize = 1 << 12;

/// The size and digest of a file.
pub(super) struct Digested {
    pub(super) bytes: u64,
    pub(super) xxh3: String,
}

/// A file that digests what is written to it, and collects it in blocks that can be written without the page cache.
pub(super) struct Blocks {
    sink: Box<dyn Sink>,
    digest: XxHash3_128,
    bytes: u64,
    /// The block, which begins at `start`.
    block: Vec<u8>,
    start: usize,
}

impl Blocks {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        let mut block: Vec<u8> = Vec::with_capacity(BLOCK + ALIGNMENT);
        let start = block.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        block.resize(start, 0);
        Self { sink, digest: XxHash3_128::new(), bytes: 0, block, start }
    }

    /// Writes what is left and makes the file durable.
    pub(super) fn finish(mut self) -> io::Result<Digested> {
        self.flush()?;
        self.sink.sync()?;
        Ok(Digested { bytes: self.bytes, xxh3: hex(&self.digest) })
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.start + BLOCK - self.block.len();
        let bytes = &bytes[..room.min(bytes.len())];
        self.digest.write(bytes);
        self.bytes += bytes.len() as u64;
        self.block.extend_from_slice(bytes);
        if bytes.len() == room {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.block[self.start..])?;
        self.block.truncate(self.start);
        Ok(())
    }
}
