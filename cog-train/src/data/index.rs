//! The byte offsets and the line numbers of the rows of a file.

use std::io::BufReader;
use std::ops::Range;

use super::dataset::missing;
use super::hashed_file::{HashedFile, HashingReader};
use super::problems::Problems;
use crate::error::Error;

/// Takes 8 bytes per row, and 16 for each row whose line does not follow the one before.
#[derive(Debug, Default)]
pub(super) struct Index {
    offsets: Vec<u64>,
    /// (row, line): from this row on, lines are counted from there.
    breaks: Vec<(usize, u64)>,
}

impl Index {
    /// Adds a row that begins at byte `offset` on `line`, counted from 1.
    pub(super) fn push(&mut self, offset: u64, line: u64) {
        let row = self.offsets.len();
        if row == 0 || self.line(row) != line {
            self.breaks.push((row, line));
        }
        self.offsets.push(offset);
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Returns the line of a row, counted from 1.
    pub(super) fn line(&self, row: usize) -> u64 {
        let behind = self.breaks.partition_point(|(first, _)| *first <= row);
        let Some((first, line)) = behind.checked_sub(1).and_then(|at| self.breaks.get(at)) else {
            return row as u64 + 1;
        };
        line + (row - first) as u64
    }

    /// Returns the range from the row's first byte to the next row's, in a file of `size` bytes.
    pub(super) fn range(&self, row: usize, size: u64) -> Option<Range<u64>> {
        let start = *self.offsets.get(row)?;
        Some(start..self.offsets.get(row + 1).copied().unwrap_or(size))
    }
}

/// An open file with the index of its rows.
#[derive(Debug)]
pub(super) struct Indexed {
    pub(super) file: HashedFile,
    index: Index,
}

impl Indexed {
    /// Returns the file with its index, or an error when there are bad rows or none.
    pub(super) fn end(
        reader: BufReader<HashingReader>,
        index: Index,
        problems: Problems,
    ) -> Result<Self, Error> {
        let file = reader.into_inner().finish()?;
        problems.finish(file.name())?;
        if index.len() == 0 {
            let reason = "it has no rows".to_owned();
            return Err(Error::Data { location: file.name().to_owned(), reason });
        }
        Ok(Self { file, index })
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn location(&self, row: usize) -> String {
        format!("{} line {}", self.file.name(), self.index.line(row))
    }

    /// Reads the bytes from the row's first to the next row's.
    pub(super) fn bytes(&self, row: usize) -> Result<Vec<u8>, Error> {
        let range = self.index.range(row, self.file.size());
        self.file.read(range.ok_or_else(|| missing(self.file.name(), row, self.len()))?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_those_that_were_pushed(steps in prop::collection::vec(1u64..4, 1..60)) {
            let mut index = Index::default();
            let lines: Vec<u64> = steps.iter().scan(0, |line, step| { *line += step; Some(*line) }).collect();
            for line in &lines {
                index.push(line * 10, *line);
            }
            for (row, line) in lines.iter().enumerate() {
                prop_assert_eq!(index.line(row), *line);
                let end = lines.get(row + 1).map_or(9999, |line| line * 10);
                prop_assert_eq!(index.range(row, 9999), Some(line * 10..end));
            }
            prop_assert_eq!(index.range(lines.len(), 9999), None);
            if steps[1..].iter().all(|step| *step == 1) {
                prop_assert_eq!(index.breaks.len(), 1);
            }
        }
    }
}
