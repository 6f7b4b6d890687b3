//! A file that grows, read from where an earlier answer ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::fetch::hex;

/// The bytes before a position by which it is known again.
const BEFORE: u64 = 256;

/// A file, and the position at which to read on.
pub(super) struct Tail {
    pub(super) file: File,
    pub(super) length: u64,
    /// The end of the earlier answer; 0 where there is none, or the file is another one now.
    pub(super) start: u64,
    /// The file was truncated or replaced since the earlier answer.
    pub(super) restarted: bool,
}

impl Tail {
    /// Opens a file of a run; `None` when it is not there.
    pub(super) fn open(path: &Path, after: Option<&str>) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let start = match after.map(|cursor| (cursor, offset_of(cursor))) {
            None => Some(0),
            Some((cursor, Some(offset))) if offset <= length => {
                (cursor_at(&mut file, offset)? == cursor).then_some(offset)
            }
            Some(_) => None,
        };
        let restarted = start.is_none();
        let start = start.unwrap_or(0);
        file.seek(SeekFrom::Start(start))?;
        Ok(Some(Self { file, length, start, restarted }))
    }

    /// Returns the cursor of a position, by which a later request reads on there.
    pub(super) fn cursor(mut self, end: u64) -> io::Result<String> {
        cursor_at(&mut self.file, end)
    }
}

fn offset_of(cursor: &str) -> Option<u64> {
    cursor.split_once('-')?.0.parse().ok()
}

/// Returns `OFFSET-DIGEST`, the digest being that of the bytes before.
fn cursor_at(file: &mut File, offset: u64) -> io::Result<String> {
    let count = offset.min(BEFORE);
    file.seek(SeekFrom::Start(offset - count))?;
    let mut before = Vec::new();
    file.take(count).read_to_end(&mut before)?;
    let digest = hex(Sha256::digest(&before));
    Ok(format!("{offset}-{}", &digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, after: Option<&str>) -> (u64, bool) {
        let tail = Tail::open(path, after).unwrap().unwrap();
        (tail.start, tail.restarted)
    }

    #[test]
    fn a_cursor_is_of_the_file_that_it_was_made_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        assert!(Tail::open(&path, None).unwrap().is_none());
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let cursor = Tail::open(&path, None).unwrap().unwrap().cursor(8).unwrap();
        assert_eq!(open(&path, Some(&cursor)), (8, false));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(open(&path, Some(&cursor)), (8, false), "it has grown");
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(open(&path, Some(&cursor)), (0, true), "it was truncated");
        std::fs::write(&path, "one\nTWO\nthree\n").unwrap();
        assert_eq!(open(&path, Some(&cursor)), (0, true), "it was truncated and has grown again");
        for other in ["", "8", "8-", "-8", "x-y", "99999999999999999999-00", "4-0000000000000000"] {
            assert_eq!(open(&path, Some(other)), (0, true), "{other}");
        }
    }
}
