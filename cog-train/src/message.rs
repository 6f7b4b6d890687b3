//! Text for messages: escapes, and counts with their nouns.

use std::fmt::Display;

/// Returns text from outside (a path, a server's words) as a message may show it: control characters, and what else
/// a terminal obeys or hides, are escaped.
pub(crate) fn printable(text: impl Display) -> String {
    const PLAIN: [char; 3] = ['"', '\'', '\\'];
    let text = text.to_string();
    let mut printable = String::with_capacity(text.len());
    for piece in text.split_inclusive(PLAIN) {
        let body = piece.strip_suffix(PLAIN).unwrap_or(piece);
        printable.extend(body.escape_debug());
        printable.push_str(&piece[body.len()..]);
    }
    printable
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_escapes_what_a_terminal_obeys_and_nothing_else() {
        for (text, shown) in [
            ("a\x1b[2J\r\n\x07\u{9b}31m", r"a\u{1b}[2J\r\n\u{7}\u{9b}31m"),
            ("\u{202e}cod.exe\u{200b}", r"\u{202e}cod.exe\u{200b}"),
            ("it's \"C:\\a\" \u{e4}e\u{301}", "it's \"C:\\a\" \u{e4}e\u{301}"),
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
}
