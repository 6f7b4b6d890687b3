//! Text files as lines: the reading that JSONL, plain text and CSV share.

use std::io::{BufRead, BufReader};
use std::path::Path;

use super::hashed_file::HashingReader;
use super::index::{Index, Indexed};
use super::problems::Problems;
use crate::error::Error;
use crate::progress::CancelToken;

/// The most bytes of a line, 64 MiB: a file without line breaks is hardly meant to be one row.
pub(super) const LINE: usize = 64 << 20;
/// The byte order mark of UTF-8, which editors put at the start of a file.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// A file whose rows are its lines that are not blank. `\n`, `\r\n` and a lone `\r` each end a line.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Indexed);

impl Lines {
    /// Reads all lines once; `check` returns the reason that a line cannot be used.
    pub(super) fn open(
        path: &Path,
        most: usize,
        cancel: &CancelToken,
        mut check: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let mut reader = HashingReader::open(path, cancel)?.buffered();
        let (mut index, mut problems) = (Index::default(), Problems::default());
        let mut offset = skip_mark(&mut reader)?;
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let Some(bytes) = next_line(&mut reader, most, &mut line)? else { break };
            let start = offset;
            offset += bytes;
            let checked = if line.len() > most {
                Err(too_long(most))
            } else {
                match std::str::from_utf8(&line) {
                    Ok(text) if text.trim().is_empty() => continue,
                    Ok(text) => check(text),
                    Err(_) => Err("it is not UTF-8".to_owned()),
                }
            };
            match checked {
                Ok(()) => index.push(start, number),
                Err(reason) => problems.add(format!("line {number}"), &reason),
            }
        }
        Ok(Self(Indexed::end(reader, index, problems)?))
    }

    /// Returns the line of a row, without its terminator.
    pub(super) fn line(&self, row: usize) -> Result<String, Error> {
        let mut bytes = self.0.bytes(row)?;
        // Blank lines may follow.
        let end = bytes.iter().position(|byte| is_break(*byte)).unwrap_or(bytes.len());
        bytes.truncate(end);
        String::from_utf8(bytes).map_err(|_| self.0.file.content_changed())
    }
}

/// Appends the next line without its terminator and returns the number of its bytes in the file; `None` at the end of the
/// file. Of a longer line, `most + 1` bytes are kept.
fn next_line(
    reader: &mut BufReader<HashingReader>,
    most: usize,
    line: &mut Vec<u8>,
) -> Result<Option<u64>, Error> {
    // For each line and not for each read alone: the check of a row may be slow.
    reader.get_ref().check()?;
    let mut total = 0;
    loop {
        let chunk = fill(reader)?;
        let found = chunk.iter().position(|byte| is_break(*byte));
        let text = &chunk[..found.unwrap_or(chunk.len())];
        keep(line, text, most);
        let consumed = text.len() + usize::from(found.is_some());
        let carriage = found.is_some_and(|at| chunk[at] == b'\r');
        reader.consume(consumed);
        total += consumed as u64;
        if carriage {
            total += line_feed(reader)?;
        }
        if found.is_some() || consumed == 0 {
            return Ok((total > 0).then_some(total));
        }
    }
}

/// Appends bytes up to `most + 1` in all, by which a longer text is recognized.
pub(super) fn keep(kept: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let room = most.saturating_add(1).saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Consumes the line feed of a `\r\n` whose carriage return has been read, and returns the number of bytes consumed.
pub(super) fn line_feed(reader: &mut BufReader<HashingReader>) -> Result<u64, Error> {
    let there = fill(reader)?.first() == Some(&b'\n');
    reader.consume(usize::from(there));
    Ok(u64::from(there))
}

/// Returns the bytes that are buffered, after a read where there are none; empty at the end of the file.
pub(super) fn fill(reader: &mut BufReader<HashingReader>) -> Result<&[u8], Error> {
    if let Err(error) = reader.fill_buf() {
        return Err(reader.get_ref().read_error(error));
    }
    Ok(reader.buffer())
}

pub(super) fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Returns the reason for a row that is longer than `most` bytes.
pub(super) fn too_long(most: usize) -> String {
    format!("it is longer than {most} bytes")
}

/// Consumes the byte order mark at the start of a file and returns its length, 0 or 3.
pub(super) fn skip_mark(reader: &mut BufReader<HashingReader>) -> Result<u64, Error> {
    fill(reader)?;
    let length = mark(reader.buffer(), reader.get_ref().name())?;
    reader.consume(length);
    Ok(length as u64)
}

/// Returns the length of the byte order mark at the start of a file. Refuses UTF-16 and formats that are not text.
pub(super) fn mark(start: &[u8], name: &str) -> Result<usize, Error> {
    let reason = match start {
        // With a mark, or letters of ASCII without one.
        [0xff, 0xfe, ..]
        | [0xfe, 0xff, ..]
        | [1..=127, 0, 1..=127, 0, ..]
        | [0, 1..=127, 0, 1..=127, ..] => "it is UTF-16\nhint: save the file as UTF-8",
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'P', b'K', 3, 4, ..] => {
            "it is packed\nhint: unpack it first"
        }
        [b'P', b'A', b'R', b'1', ..] => "it is a Parquet file",
        _ => return Ok(if start.starts_with(BOM) { BOM.len() } else { 0 }),
    };
    Err(Error::Data { location: name.to_owned(), reason: reason.to_owned() })
}
