//! The text of an author's error.

/// Returns the whole chain of an error as one text, without candle's backtraces and without repetitions.
pub(crate) fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = crate::error::plain(cause);
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}
