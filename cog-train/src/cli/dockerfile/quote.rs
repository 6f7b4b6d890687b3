//! Texts as single words of a Dockerfile.

/// The width from which a long text is folded.
const WIDTH: usize = 110;

/// Quotes a text without line breaks: nothing in it is expanded, and it ends at its own quote.
pub(super) fn quoted(text: &str) -> String {
    debug_assert!(!text.contains(['\n', '\r']));
    format!("\"{}\"", escaped(text))
}

/// Quotes JSON on one line, and continues it on the next line wherever it grows long: a Dockerfile's line has a limit, and
/// changes of a short line can be read. The breaks stand before a quote, never before a `#` or a space, which would be lost.
pub(super) fn folded(json: &str) -> String {
    let text = escaped(json);
    let mut lines = String::from("\"");
    let mut start = 0;
    for (at, _) in text.match_indices(",\\\"") {
        if at + 1 - start >= WIDTH {
            lines.push_str(&text[start..=at]);
            lines.push_str("\\\n");
            start = at + 1;
        }
    }
    lines.push_str(&text[start..]);
    lines.push('"');
    lines
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Reads words as Docker does: joined lines first, then one pair of double quotes with its escapes. A `$` that is not
    /// escaped would begin a variable.
    fn read(written: &str) -> String {
        let mut joined = String::new();
        for (number, line) in written.lines().enumerate() {
            assert!(
                number == 0 || !line.trim_start().starts_with('#'),
                "read as a comment: {line}"
            );
            assert!(!line.trim().is_empty() && line.len() < 65_536);
            joined.push_str(line.strip_suffix('\\').unwrap_or(line));
        }
        let mut chars = joined.strip_prefix('"').unwrap().chars().peekable();
        let mut text = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    assert_eq!(chars.next(), None, "text after the quote: {joined}");
                    return text;
                }
                '\\' if chars.peek().is_some_and(|next| "\"$\\".contains(*next)) => {
                    text.extend(chars.next());
                }
                '$' => panic!("a variable: {joined}"),
                other => text.push(other),
            }
        }
        panic!("no end: {joined}");
    }

    proptest! {
        #[test]
        fn quoted_texts_are_read_as_they_are(text in "(\\PC|[\"$\\\\#'` \t]){0,40}") {
            prop_assert_eq!(read(&quoted(&text)), text);
        }

        #[test]
        fn folded_json_is_read_as_it_is(texts in proptest::collection::vec("(\\PC|[\"$\\\\#', \n]){0,60}", 0..40)) {
            let json = json!({"items": texts, "last": ",\"#\\"}).to_string();
            prop_assert_eq!(read(&folded(&json)), json);
        }
    }

    #[test]
    fn long_json_is_folded() {
        let json = json!(vec!["a description of some length"; 5_000]).to_string();
        assert!(folded(&json).lines().all(|line| line.len() < 200));
        assert_eq!(read(&folded(&json)), json);
    }
}
