//! Plain text: one file, cut into examples.

use std::path::Path;

use rayon::prelude::*;

use super::builder::ExampleBuilder;
use super::example::Example;
use crate::data::{Dataset, TextWindows};
use crate::error::Error;
use crate::progress::CancelToken;

/// The bytes of a text that are encoded at a time, and then up to the end of a line.
const PIECE: usize = 1 << 16;
/// The most bytes that are searched for the end of a line.
const LINE: usize = 1 << 20;

impl ExampleBuilder<'_> {
    /// Makes the examples of a plain text file, until the token is cancelled: the file is one text, cut as long texts are.
    ///
    /// It is encoded in pieces of 64 KiB that end with a line, on all threads. A tokenizer that begins a text with a space puts one
    /// before each piece.
    ///
    /// ```
    /// use cog_train::CancelToken;
    /// use cog_train::text::{ExampleBuilder, Tokenizer};
    ///
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/pieces");
    /// # let dir = tempfile::tempdir()?;
    /// # let file = dir.path().join("book.txt");
    /// std::fs::write(&file, "The answer\nThe question\n".repeat(50))?;
    /// let tokenizer = Tokenizer::open(folder)?;
    /// let examples = ExampleBuilder::new(&tokenizer, 16).text_file(&file, &CancelToken::new())?;
    /// assert!(examples.iter().all(|example| example.inputs().len() <= 16));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Data`] when the file is empty or not UTF-8; [`Error::File`]; those of the tokenizer; [`Error::Cancelled`].
    pub fn text_file(
        &self,
        path: impl AsRef<Path>,
        cancel: &CancelToken,
    ) -> Result<Vec<Example>, Error> {
        let text = TextWindows::open_with(path, PIECE, PIECE, cancel)?;
        let pieces = pieces((0..text.len()).map(|at| {
            cancel.check()?;
            text.item(at)
        }))?;
        let encode = |piece: &String| {
            cancel.check()?;
            self.tokenizer.encode_plain(piece)
        };
        let ids: Vec<Vec<u32>> = pieces.par_iter().map(encode).collect::<Result<_, Error>>()?;
        Ok(self.windows(ids.concat()))
    }
}

/// Moves the borders of pieces to ends of lines; in lines that are too long, to spaces.
fn pieces(windows: impl Iterator<Item = Result<String, Error>>) -> Result<Vec<String>, Error> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    for window in windows {
        text.push_str(&window?);
        let end = match text.rfind('\n') {
            Some(at) => at + 1,
            None if text.len() < LINE => 0,
            None => text.rfind(' ').unwrap_or(text.len()),
        };
        if end > 0 {
            let rest = text.split_off(end);
            pieces.push(std::mem::replace(&mut text, rest));
        }
    }
    if !text.is_empty() {
        pieces.push(text);
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(windows: &[&str]) -> Vec<String> {
        pieces(windows.iter().map(|window| Ok((*window).to_owned()))).unwrap()
    }

    #[test]
    fn pieces_are_the_text_and_end_with_lines() {
        assert_eq!(cut(&["one\ntw", "o\n", "three"]), ["one\n", "two\n", "three"]);
        assert_eq!(cut(&["one", " two", "\nthree"]), ["one two\n", "three"]);
        assert!(cut(&[""]).is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_before_a_word() {
        let long = "word ".repeat(LINE / 5) + "end";
        let pieces = cut(&[&long, "ing"]);
        assert_eq!(pieces.concat(), format!("{long}ing"));
        assert_eq!(pieces[1], " ending");
        let unbroken = "x".repeat(LINE);
        assert_eq!(cut(&[&unbroken, "y"]), [unbroken, "y".to_owned()]);
    }
}
