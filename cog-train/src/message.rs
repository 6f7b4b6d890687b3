//! Text for messages: escapes, counts with their nouns, sizes, durations, and widths in a terminal.

use std::fmt::Display;

use unicode_width::UnicodeWidthStr;

/// Returns text from outside (a path, a server's words) as a message may show it: control characters, and what else
/// a terminal obeys or hides, are escaped. What joins two characters of a script or an emoji stays.
pub(crate) fn printable(text: impl Display) -> String {
    const QUOTES: [char; 3] = ['"', '\'', '\\'];
    /// Devanagari and Persian join letters by the first two, an emoji joins its parts by the second.
    const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];
    let text = text.to_string();
    let mut printable = String::with_capacity(text.len());
    let is_foreign = |c: Option<char>| c.is_some_and(|c| !c.is_ascii());
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let joins = JOINERS.contains(&c)
            && is_foreign(text[..at].chars().next_back())
            && is_foreign(text[end..].chars().next());
        if joins || QUOTES.contains(&c) {
            printable.extend(text[start..at].escape_debug());
            printable.push(c);
            start = end;
        }
    }
    printable.extend(text[start..].escape_debug());
    printable
}

/// Returns [`printable`] text whose line breaks stay: a reason with a hint, or with the words of a library that quotes a file.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Returns [`printable`] text of at most `max_chars` characters before they are escaped, and `...` for the others.
pub(crate) fn printable_start(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => printable(&text[..end]) + "...",
        None => printable(text),
    }
}

/// Returns a name from a file as a message may show it: [`printable`], and cut when it is long.
pub(crate) fn printable_name(name: &str) -> String {
    printable_start(name, 200)
}

/// Returns a number with its noun: `1 row`, `2 rows`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let end = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// Returns the name that another was probably meant to be, whatever its case.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Below this similarity a suggestion misleads more than it helps.
    const MIN_SIMILARITY: f64 = 0.6;
    let wanted = wanted.to_lowercase();
    let similarity =
        |name: &str| strsim::normalized_damerau_levenshtein(&wanted, &name.to_lowercase());
    names
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Formats a number of bytes as people write it: `1.5 GiB`.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Draws a part of a whole as a bar of so many characters.
pub(crate) fn bar(part: u64, whole: u64, columns: usize) -> String {
    let full = u128::from(part.min(whole)) * columns as u128 / u128::from(whole.max(1));
    let full = usize::try_from(full).unwrap_or(columns);
    format!("{}{}", "█".repeat(full), "░".repeat(columns - full))
}

/// Formats seconds as people write them: `850 ms`, `2.2 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded time")]
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Returns the columns that a text takes in a terminal: two for a wide character, none for a combining mark (UAX #11).
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Fills a text with spaces behind it up to a width in a terminal.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{:1$}", "", columns.saturating_sub(width(text)))
}

/// Breaks a text at its spaces into lines of at most `columns`. A longer word has a line of its own.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    wrapped_words(text.split(' '), " ", columns)
}

/// Joins words by `gap` into lines of at most `columns`. A longer word has a line of its own.
pub(crate) fn wrapped_words<'a>(
    words: impl IntoIterator<Item = &'a str>,
    gap: &str,
    columns: usize,
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if width(line) + width(gap) + width(word) <= columns => {
                line.push_str(gap);
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_escapes_what_a_terminal_obeys_and_nothing_else() {
        for (text, shown) in [
            ("a\x1b[2J\r\n\x07\u{9b}31m", r"a\u{1b}[2J\r\n\u{7}\u{9b}31m"),
            ("\u{202e}cod.exe\u{200b}", r"\u{202e}cod.exe\u{200b}"),
            ("it's \"C:\\a\" \u{e4}e\u{301}", "it's \"C:\\a\" \u{e4}e\u{301}"),
            // Hebrew, Devanagari, an emoji of two joined ones, and joiners that join nothing.
            ("שלום क्\u{200d}ष", "שלום क्\u{200d}ष"),
            ("\u{2764}\u{fe0f}\u{200d}\u{1f525}", "\u{2764}\u{fe0f}\u{200d}\u{1f525}"),
            ("a\u{200d}b \u{200c}ש", r"a\u{200d}b \u{200c}ש"),
            ("", ""),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_name(&"n".repeat(200)), "n".repeat(200));
        assert_eq!(printable_name(&"\u{4e2d}".repeat(201)), "\u{4e2d}".repeat(200) + "...");
        assert_eq!(printable_start("ab\n", 2), "ab...");
    }

    #[test]
    fn one_is_singular_and_every_other_count_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "row")), ["0 rows", "1 row", "2 rows"]);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (150 << 20, "150 MiB"),
            (1023 << 20, "1.0 GiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0.0, "0 ms"),
            (0.85, "850 ms"),
            (2.25, "2.2 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (3599.6, "1 h 00 min"),
            (7620.0, "2 h 07 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    /// A text in Latin letters with a combining mark, Devanagari, Hebrew, Japanese, and an emoji of two code points.
    #[test]
    fn widths_are_those_of_a_terminal() {
        for (text, columns) in
            [("e\u{301}te", 3), ("नमस्ते", 4), ("שלום", 4), ("日本語", 6), ("👍🏽", 2)]
        {
            assert_eq!(width(text), columns, "{text}");
            assert_eq!(width(&padded(text, 10)), 10, "{text}");
        }
        assert_eq!(padded("longer", 3), "longer");
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_word() {
        assert_eq!(wrapped("ab cd ef ghijklm n", 5), ["ab cd", "ef", "ghijklm", "n"]);
        assert_eq!(wrapped("日本 語", 5), ["日本", "語"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
