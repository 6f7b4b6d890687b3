//! The log of a run, in pieces of whole lines.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Value, json};

use super::query::Query;
use super::tail::Tail;

const FILE: &str = "log.txt";
/// The most bytes of an answer.
const PIECE: u64 = 1 << 20;

/// A piece of a file of lines.
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) text: String,
}

/// Reads lines of a run's log: the last ones, those behind the cursor `after`, or those before the byte `until`.
pub(super) fn read(dir: &Path, query: &Query) -> io::Result<Value> {
    let Some(mut tail) = Tail::open(&dir.join(FILE), query.after.as_deref())? else {
        let restarted = query.after.is_some();
        return Ok(json!({"cursor": null, "restarted": restarted, "start": 0, "text": ""}));
    };
    let piece = piece(&mut tail, query.until)?;
    let restarted = tail.restarted;
    let cursor = tail.cursor(piece.end)?;
    Ok(json!({"cursor": cursor, "restarted": restarted, "start": piece.start, "text": piece.text}))
}

/// Reads whole lines of at most [`PIECE`] bytes together.
pub(super) fn piece(tail: &mut Tail, until: Option<u64>) -> io::Result<Piece> {
    let is_continued = tail.start > 0 && until.is_none();
    let end = match until {
        Some(until) => until.min(tail.length),
        None if is_continued => tail.length.min(tail.start + PIECE),
        None => tail.length,
    };
    let start = if is_continued { tail.start } else { end.saturating_sub(PIECE) };
    tail.file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    (&tail.file).take(end - start).read_to_end(&mut bytes)?;
    let newline = |byte: &u8| *byte == b'\n';
    // The first line began before, unless this is where an answer ended or the file begins. A line that is longer than a piece
    // is cut.
    let skipped = match bytes.iter().position(newline) {
        Some(first) if start > 0 && !is_continued && first + 1 < bytes.len() => first + 1,
        _ => 0,
    };
    let kept = match bytes.iter().rposition(newline) {
        // The answer behind it begins there.
        _ if until.is_some() => bytes.len(),
        Some(last) => last + 1,
        None if bytes.len() as u64 == PIECE => bytes.len(),
        // It is being written.
        None => 0,
    };
    let start_of_text = start + skipped as u64;
    Ok(Piece {
        start: start_of_text,
        end: start + kept as u64,
        text: String::from_utf8_lossy(&bytes[skipped..kept]).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(dir: &Path, query: &str) -> Value {
        read(dir, &Query::parse(query).unwrap()).unwrap()
    }

    #[test]
    fn pieces_from_the_end_to_the_start_are_the_whole_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let long = "x".repeat(usize::try_from(PIECE).unwrap() + 7);
        let line = |at: u32| format!("line {at} of many \u{e9}\n");
        let text = (0..100_000).map(line).collect::<Vec<_>>().concat();
        let text = format!("{text}{long}\nlast\n");
        std::fs::write(&path, format!("{text}half a li")).unwrap();
        let mut answer = get(dir.path(), "");
        let mut read = answer["text"].as_str().unwrap().to_owned();
        assert!(read.ends_with("last\n"), "half a line is read once it is whole");
        while answer["start"] != 0 {
            answer = get(dir.path(), &format!("until={}", answer["start"]));
            read.insert_str(0, answer["text"].as_str().unwrap());
        }
        assert!(read == text, "{} bytes of {}", read.len(), text.len());
    }

    #[test]
    fn a_log_that_grows_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(get(dir.path(), "")["cursor"], Value::Null);
        std::fs::write(&path, "one\ntw").unwrap();
        let first = get(dir.path(), "");
        assert_eq!((&first["text"], &first["restarted"]), (&"one\n".into(), &false.into()));
        let after = |answer: &Value| format!("after={}", answer["cursor"].as_str().unwrap());
        let same = get(dir.path(), &after(&first));
        assert_eq!((&same["text"], &same["cursor"]), (&"".into(), &first["cursor"]));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let second = get(dir.path(), &after(&first));
        assert_eq!((&second["text"], &second["start"]), (&"two\nthree\n".into(), &4.into()));
        std::fs::write(&path, "one\nTWO\n").unwrap();
        let third = get(dir.path(), &after(&second));
        assert_eq!((&third["text"], &third["restarted"]), (&"one\nTWO\n".into(), &true.into()));
    }
}
