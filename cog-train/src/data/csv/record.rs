//! The records of a CSV file, found without looking into their fields.

use std::io::{BufRead, BufReader};

use super::super::hashed_file::HashingReader;
use super::super::lines::{LINE, fill, is_break, keep, line_feed};
use crate::error::Error;

/// The extent of one record in the file.
pub(super) struct Record {
    pub(super) bytes: u64,
    /// Line breaks, those in quotes included.
    pub(super) lines: u64,
    /// The file ends within quotes.
    pub(super) unterminated: bool,
}

/// Appends the next record without its terminator; `None` at the end of the file. Of a longer record, `LINE + 1` bytes
/// are kept.
pub(super) fn next_record(
    reader: &mut BufReader<HashingReader>,
    delimiter: u8,
    row: &mut Vec<u8>,
) -> Result<Option<Record>, Error> {
    // For each record and not for each read alone: the check of a row may be slow.
    reader.get_ref().check()?;
    let mut scan = Scan::new(delimiter);
    let mut bytes = 0;
    loop {
        let chunk = fill(reader)?;
        let found = chunk.iter().position(|byte| scan.ends_at(*byte));
        let text = &chunk[..found.unwrap_or(chunk.len())];
        keep(row, text, LINE);
        let consumed = text.len() + usize::from(found.is_some());
        reader.consume(consumed);
        bytes += consumed as u64;
        if found.is_some() && scan.carriage {
            bytes += line_feed(reader)?;
        }
        if found.is_some() || consumed == 0 {
            let record =
                Record { bytes, lines: scan.lines, unterminated: scan.state == State::Quoted };
            return Ok((bytes > 0).then_some(record));
        }
    }
}

/// Finds the end of a record as the csv crate does: `\n`, `\r\n` or a lone `\r` outside of quotes. Quotes open at the
/// start of a field only, and two of them within quotes are one of the text.
struct Scan {
    delimiter: u8,
    state: State,
    /// The byte before was a carriage return.
    carriage: bool,
    lines: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldStart,
    Field,
    Quoted,
    /// Behind a quote within quotes: the closing one, or the first of two.
    ClosingQuote,
}

impl Scan {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::FieldStart, carriage: false, lines: 0 }
    }

    /// Takes the next byte and returns whether it ends the record.
    fn ends_at(&mut self, byte: u8) -> bool {
        self.lines += u64::from(byte == b'\r' || (byte == b'\n' && !self.carriage));
        self.carriage = byte == b'\r';
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::ClosingQuote,
            (State::Quoted, _) | (State::FieldStart | State::ClosingQuote, b'"') => State::Quoted,
            (_, byte) if byte == self.delimiter => State::FieldStart,
            _ => State::Field,
        };
        self.state != State::Quoted && is_break(byte)
    }
}
