//! Plain text: a row for each line, or windows over the whole file.

use std::io::Read;
use std::path::Path;

use super::dataset::{Dataset, missing};
use super::hashed_file::{HashedFile, HashingReader};
use super::lines::{LINE, Lines, mark};
use crate::error::{Error, counted};
use crate::progress::CancelToken;

/// The lines of a text file that are not blank. `\n`, `\r\n` and a lone `\r` each end a line. It takes 8 bytes of memory per
/// line.
///
/// ```
/// use cog_train::data::{Dataset, TextLines};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("poem.txt");
/// std::fs::write(&path, "Tyger Tyger,\n\nburning bright\n")?;
/// let lines = TextLines::open(&path)?;
/// assert_eq!((lines.len(), lines.item(1)?), (2, "burning bright".to_owned()));
/// assert!(lines.location(1).ends_with("poem.txt line 3"));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct TextLines(Lines);

impl TextLines {
    /// Opens a file and reads it once.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with every line that is not UTF-8 or longer than 64 MiB, and for a file without text;
    /// [`Error::File`] when it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &CancelToken::new())
    }

    /// Does the same as [`TextLines::open`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`TextLines::open`]; [`Error::Cancelled`].
    pub fn open_with(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        Ok(Self(Lines::open(path.as_ref(), LINE, cancel, |_| Ok(()))?))
    }
}

impl Dataset for TextLines {
    type Item = String;

    fn len(&self) -> usize {
        self.0.0.len()
    }

    fn item(&self, index: usize) -> Result<String, Error> {
        self.0.line(index)
    }

    fn location(&self, index: usize) -> String {
        self.0.0.location(index)
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.0.0.file.digest())
    }
}

/// Windows over a text file: each begins `stride` bytes behind the one before and has `size` bytes, the last one what is
/// left. A window never cuts a character: a cut within one is moved before it. With `stride` equal to `size` the windows
/// together are the text.
///
/// ```
/// use cog_train::data::{Dataset, TextWindows};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("text.txt");
/// std::fs::write(&path, "0123456789")?;
/// let windows = TextWindows::open(&path, 6, 4)?; // each two bytes into the one before
/// let all: Vec<String> = (0..windows.len()).map(|at| windows.item(at)).collect::<Result<_, _>>()?;
/// assert_eq!(all, ["012345", "456789"]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct TextWindows {
    file: HashedFile,
    /// The offset of the text, behind a byte order mark.
    start: u64,
    size: u64,
    stride: u64,
    count: usize,
}

impl TextWindows {
    /// Opens a file and reads it once. `size` and `stride` are in bytes and at least 4, the longest character.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] when the file is empty or not UTF-8, with the line; [`Error::File`] when it cannot be read;
    /// [`Error::InvalidConfig`] for windows of fewer than 4 bytes, or a stride that leaves text out.
    pub fn open(path: impl AsRef<Path>, size: usize, stride: usize) -> Result<Self, Error> {
        Self::open_with(path, size, stride, &CancelToken::new())
    }

    /// Does the same as [`TextWindows::open`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`TextWindows::open`]; [`Error::Cancelled`].
    pub fn open_with(
        path: impl AsRef<Path>,
        size: usize,
        stride: usize,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        if stride < 4 || size < stride {
            return Err(Error::InvalidConfig {
                reason: format!(
                    "windows of {} every {}: the stride must be at least 4, and at most the size",
                    counted(size, "byte"),
                    counted(stride, "byte")
                ),
            });
        }
        let mut reader = HashingReader::open(path.as_ref(), cancel)?;
        let start = validate(&mut reader)? as u64;
        let file = reader.finish()?;
        let (size, stride) = (size as u64, stride as u64);
        let bytes = file.size() - start;
        if bytes == 0 {
            let reason = "it is empty".to_owned();
            return Err(Error::Data { location: file.name().to_owned(), reason });
        }
        let count = bytes.saturating_sub(size).div_ceil(stride) + 1;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Self { file, start, size, stride, count })
    }

    fn start_of(&self, index: usize) -> u64 {
        self.start + index as u64 * self.stride
    }
}

impl Dataset for TextWindows {
    type Item = String;

    fn len(&self) -> usize {
        self.count
    }

    fn item(&self, index: usize) -> Result<String, Error> {
        if index >= self.count {
            return Err(missing(self.file.name(), index, self.count));
        }
        let from = self.start_of(index);
        let to = self.file.size().min(from.saturating_add(self.size));
        // A character has at most 3 bytes before any of its others, and the byte at the end says whether it is within one.
        let first = self.start.max(from.saturating_sub(3));
        let bytes = self.file.read(first..self.file.size().min(to + 1))?;
        let cut = |at: u64| {
            let mut at = usize::try_from(at - first).unwrap_or(usize::MAX);
            while at > 0 && bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
                at -= 1;
            }
            at
        };
        let window = bytes.get(cut(from)..cut(to)).unwrap_or_default();
        String::from_utf8(window.to_vec()).map_err(|_| self.file.content_changed())
    }

    fn location(&self, index: usize) -> String {
        format!("{} from byte {}", self.file.name(), self.start_of(index))
    }

    fn digest(&self) -> Result<String, Error> {
        Ok(self.file.digest())
    }
}

/// Reads all of a file, which must be UTF-8, and returns the length of its byte order mark.
fn validate(reader: &mut HashingReader) -> Result<usize, Error> {
    let (mut buffer, mut kept, mut start) = (vec![0; 1 << 16], 0, None);
    let (mut line, mut carriage) = (1, false);
    loop {
        let count = reader.read(&mut buffer[kept..]).map_err(|error| reader.read_error(error))?;
        let text = &buffer[..kept + count];
        let bom = match start {
            Some(bom) => bom,
            None => *start.insert(mark(text, reader.name())?),
        };
        let good = match std::str::from_utf8(text) {
            Ok(_) => text.len(),
            // A character that the chunk cuts.
            Err(error) if error.error_len().is_none() && count > 0 => error.valid_up_to(),
            Err(error) => {
                line += breaks(&text[..error.valid_up_to()], &mut carriage);
                let reason = format!("line {line} is not UTF-8\nhint: save the file as UTF-8");
                return Err(Error::Data { location: reader.name().to_owned(), reason });
            }
        };
        if count == 0 {
            return Ok(bom);
        }
        line += breaks(&text[..good], &mut carriage);
        let end = text.len();
        buffer.copy_within(good..end, 0);
        kept = end - good;
    }
}

/// Counts the line breaks in `text`; `carriage` keeps whether the byte before it was a carriage return.
fn breaks(text: &[u8], carriage: &mut bool) -> usize {
    let starts = |byte: &&u8| {
        let after = std::mem::replace(carriage, **byte == b'\r');
        **byte == b'\r' || (**byte == b'\n' && !after)
    };
    text.iter().filter(starts).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn lines_are_rows() {
        let (_dir, path) = file(b"one\r\n\n two \nthree");
        let lines = TextLines::open(&path).unwrap();
        let all: Vec<String> = (0..lines.len()).map(|at| lines.item(at).unwrap()).collect();
        assert_eq!(all, ["one", " two ", "three"]);
        assert!(lines.location(2).ends_with("a.txt line 4"));
    }

    #[test]
    fn every_line_break_ends_a_line_and_other_bytes_are_text() {
        // The carriage return at 65,535 and its line feed are read apart.
        let long = "x".repeat((1 << 16) - 1);
        let (_dir, path) = file(format!("{long}\r\na\rb\r\r\nnul\0\n\u{feff}mark\r").as_bytes());
        let lines = TextLines::open(&path).unwrap();
        let row = |at| {
            (lines.item(at).unwrap(), lines.location(at).rsplit_once(' ').unwrap().1.to_owned())
        };
        let all: Vec<(String, String)> = (0..lines.len()).map(row).collect();
        let expected =
            [(&*long, "1"), ("a", "2"), ("b", "3"), ("nul\0", "5"), ("\u{feff}mark", "6")];
        assert_eq!(all, expected.map(|(text, line)| (text.to_owned(), line.to_owned())));
    }

    #[test]
    fn utf16_is_refused_with_and_without_a_mark() {
        for bytes in [&b"\xff\xfea\0b\0"[..], b"\xfe\xff\0a\0b", b"a\0b\0", b"\0a\0b"] {
            let (_dir, path) = file(bytes);
            let refused = TextLines::open(&path).err().unwrap().to_string();
            assert!(refused.contains("it is UTF-16\nhint: save the file as UTF-8"), "{refused}");
            let refused = TextWindows::open(&path, 8, 8).unwrap_err().to_string();
            assert!(refused.contains("it is UTF-16\nhint: save the file as UTF-8"), "{refused}");
        }
    }

    #[test]
    fn a_text_that_is_not_utf8_is_refused_by_its_line() {
        for line_break in ["\n", "\r\n", "\r"] {
            let mut bytes = line_break.repeat(70_000).into_bytes();
            bytes.extend("\u{4e2d}".as_bytes());
            for end in [&b"\xff rest"[..], b"\xe4\xb8"] {
                let (_dir, path) = file(&[&bytes, end].concat());
                let error = TextWindows::open(&path, 8, 8).unwrap_err().to_string();
                assert!(error.contains("line 70001 is not UTF-8\nhint: "), "{error}");
            }
        }
        let (_dir, path) = file("\u{feff}".as_bytes());
        assert!(TextWindows::open(&path, 8, 8).unwrap_err().to_string().ends_with("it is empty"));
        assert!(matches!(TextWindows::open(&path, 8, 9), Err(Error::InvalidConfig { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn adjacent_windows_concatenate_to_the_text(
            text in "[a\u{e4}\u{4e2d}\u{1f600}\n]{1,60}", size in 4usize..40, bom: bool,
        ) {
            let mark = if bom { "\u{feff}" } else { "" };
            let (_dir, path) = file(format!("{mark}{text}").as_bytes());
            let all = |windows: &TextWindows| -> Vec<String> {
                (0..windows.len()).map(|at| windows.item(at).unwrap()).collect()
            };
            let apart = TextWindows::open(&path, size, size).unwrap();
            prop_assert_eq!(all(&apart).concat(), text.as_str());
            // Overlapping windows hold the text in order and end where it ends.
            let over = all(&TextWindows::open(&path, size, 4).unwrap());
            prop_assert!(text.ends_with(over.last().unwrap().as_str()) && text.starts_with(&over[0]));
            prop_assert!(over.iter().all(|window| text.contains(window.as_str()) && window.len() <= size + 3));
        }
    }
}
