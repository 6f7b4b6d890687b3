//! The width of a terminal, and texts that fit it.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use crate::message::{width, wrapped};

/// Returns the columns of a terminal; `None` for a pipe, a file, or a terminal of no known size.
pub(super) fn columns(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    let size =
        stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Puts a text behind its label, or below it where there is no room.
pub(super) fn labelled(label: &str, text: &str, columns: Option<usize>) -> String {
    let line = format!("{label}: {text}");
    match columns {
        Some(columns) if width(&line) > columns => format!("{label}:\n  {text}"),
        _ => line,
    }
}

/// Breaks a command into lines that a shell joins: at the spaces between its words, outside of quotes.
pub(super) fn command(label: &str, text: &str, columns: Option<usize>) -> String {
    let line = format!("{label}: {text}");
    let Some(columns) = columns.filter(|columns| width(&line) > *columns) else { return line };
    let (mut is_quoted, mut is_escaped) = (false, false);
    let words = text.split(|c| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        is_escaped = c == '\\' && !is_quoted;
        is_quoted ^= c == '\'';
        c == ' ' && !is_quoted
    });
    // Two columns before each line, and two behind it.
    let words = words.map(|word| word.replace(' ', NOT_BROKEN)).collect::<Vec<_>>().join(" ");
    let lines = wrapped(&words, columns.saturating_sub(4));
    format!("{label}:\n  {}", lines.join(" \\\n  ").replace(NOT_BROKEN, " "))
}

/// Stands for a space at which no line ends; no path holds it.
const NOT_BROKEN: &str = "\0";

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "COG_WEIGHTS='my runs/1/weights' target/classify predict -i text=...";

    #[test]
    fn a_command_is_broken_between_its_words_for_a_shell_to_join() {
        for columns in [None, Some(80)] {
            assert_eq!(command("try it", COMMAND, columns), format!("try it: {COMMAND}"));
        }
        let expected = "try it:
  COG_WEIGHTS='my runs/1/weights' \\
  target/classify predict -i text=...";
        assert_eq!(command("try it", COMMAND, Some(40)), expected);
        let narrow = command("try it", COMMAND, Some(10));
        assert!(narrow.contains("\n  COG_WEIGHTS='my runs/1/weights' \\\n"), "{narrow}");
        let quote = r"a 'it'\''s one word' b";
        assert_eq!(
            command("try it", quote, Some(9)),
            "try it:\n  a \\\n  'it'\\''s one word' \\\n  b"
        );
        let joined = narrow.strip_prefix("try it:\n  ").unwrap().replace(" \\\n  ", " ");
        assert_eq!(joined, COMMAND);
    }

    #[test]
    fn a_text_without_room_is_below_its_label() {
        assert_eq!(labelled("report", "runs/1", Some(14)), "report: runs/1");
        assert_eq!(labelled("report", "runs/1", Some(13)), "report:\n  runs/1");
        assert_eq!(labelled("report", "runs/1", None), "report: runs/1");
    }
}
