//! Validation of the bytes before the YAML parser: UTF-8, of a sane length, without control characters.

use super::node::Mistake;
use super::note::Location;

/// The most bytes of a `cog.yaml`. A longer file is another file, given by accident.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// Decodes the file and strips its byte-order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has more than {MAX_BYTES} bytes, the most that are read");
        return Err(Mistake::new(Location::START, message));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Mistake::new(Location::START, "the file is UTF-16").hint("save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.split_at(error.valid_up_to()).0;
        let location = location_after(&String::from_utf8_lossy(good));
        Mistake::new(location, "the file is not UTF-8").hint("save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.char_indices().find(|&(_, c)| forbidden(c)) {
        None => Ok(text),
        Some((offset, c)) => {
            let message = format!("the character U+{:04X} may not stand in YAML", u32::from(c));
            let hint = "remove it, or write it as an escape in double quotes";
            Err(Mistake::new(location_after(&text[..offset]), message).hint(hint))
        }
    }
}

/// Whether YAML excludes the character from its printable set, which U+0085 belongs to.
fn forbidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Splits a text into lines as YAML counts them: each ends at `\n`, `\r\n` or `\r`.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else { return rest.take() };
        let (line, tail) = text.split_at(end);
        rest = Some(tail.strip_prefix("\r\n").unwrap_or(&tail[1..]));
        Some(line)
    })
}

/// Returns the location after this text.
fn location_after(text: &str) -> Location {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (count, last) = lines(text).enumerate().last().unwrap_or_default();
    Location { line: count + 1, column: last.chars().count() + 1 }
}
