//! A text file as lines: what JSONL and plain lines have in common.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use super::held::Pass;
use super::index::{Index, Indexed};
use super::problems::Problems;
use crate::error::Error;
use crate::progress::CancelToken;

/// The most bytes of a line, 64 MiB: a file without line breaks is hardly meant to be one row.
pub(super) const LINE: usize = 64 << 20;
/// The byte order mark of UTF-8, which editors put at the start of a file.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A file whose rows are its lines that are not blank.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Indexed);

impl Lines {
    /// Reads all lines once; `check` says what is wrong with one.
    pub(super) fn open(
        path: &Path,
        most: usize,
        cancel: &CancelToken,
        mut check: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<Self, Error> {
        let mut reader = Pass::open(path, cancel)?.buffered();
        let name = reader.get_ref().name().to_owned();
        let (mut index, mut problems) = (Index::default(), Problems::default());
        let (mut line, mut offset) = (Vec::new(), 0);
        for number in 1.. {
            line.clear();
            let Some(bytes) = next_line(&mut reader, most, &mut line)? else { break };
            let start = offset;
            offset += bytes;
            let bom = if start == 0 { mark(&line, &name)? } else { 0 };
            let text = clean(&line[bom..]);
            if text.len() > most {
                problems.add(format!("line {number}"), &too_long(most));
                continue;
            }
            let checked = match std::str::from_utf8(text) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => check(text),
                Err(_) => Err("it is not UTF-8".to_owned()),
            };
            match checked {
                Ok(()) => index.push(start + bom as u64, number),
                Err(reason) => problems.add(format!("line {number}"), &reason),
            }
        }
        Ok(Self(Indexed::end(reader, index, problems)?))
    }

    /// The line of a row, without its end.
    pub(super) fn line(&self, row: usize) -> Result<String, Error> {
        let mut bytes = self.0.bytes(row)?;
        // Blank lines may follow.
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        String::from_utf8(bytes).map_err(|_| self.0.held.other())
    }
}

/// Appends the next line with its end, and gives how many bytes it has in the file; none at the end. Of a line of more
/// than `most` bytes, not much more is kept.
pub(super) fn next_line(
    reader: &mut BufReader<Pass>,
    most: usize,
    line: &mut Vec<u8>,
) -> Result<Option<u64>, Error> {
    // At each line and not at each read alone: what looks at a row may take its time.
    reader.get_ref().check()?;
    let limit = most as u64 + 3 + BOM.len() as u64;
    let mut read = || {
        let bytes = reader.by_ref().take(limit).read_until(b'\n', line)? as u64;
        let more = if bytes == limit && !line.ends_with(b"\n") { skip(reader)? } else { 0 };
        Ok(bytes + more)
    };
    match read() {
        Ok(bytes) => Ok((bytes > 0).then_some(bytes)),
        Err(error) => Err(reader.get_ref().fault(error)),
    }
}

/// What is said of a row that is longer than `most` bytes.
pub(super) fn too_long(most: usize) -> String {
    format!("it is longer than {most} bytes")
}

/// A line without what ends it.
fn clean(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads to behind the next line break without keeping anything.
fn skip(reader: &mut impl BufRead) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        let found = bytes.iter().position(|byte| *byte == b'\n');
        let count = found.map_or(bytes.len(), |at| at + 1);
        reader.consume(count);
        skipped += count as u64;
        if found.is_some() || count == 0 {
            return Ok(skipped);
        }
    }
}

/// How many bytes of byte order mark are at the start of a file. Refuses what begins like UTF-16 or like packed data.
pub(super) fn mark(start: &[u8], name: &str) -> Result<usize, Error> {
    let reason = match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16\nhint: save the file as UTF-8",
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [b'P', b'K', 3, 4, ..] => {
            "it is packed\nhint: unpack it first"
        }
        [b'P', b'A', b'R', b'1', ..] => "it is a Parquet file",
        _ => return Ok(if start.starts_with(BOM) { BOM.len() } else { 0 }),
    };
    Err(Error::Data { place: name.to_owned(), reason: reason.to_owned() })
}
