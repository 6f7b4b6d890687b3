//! From bytes to text that the YAML parser may see: UTF-8, of a sane length, without control characters.

use super::node::Mistake;
use super::note::Place;

/// No `cog.yaml` is longer; a longer file is some other file, given by accident.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// The text of the file, without its byte-order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    if bytes.len() > MAX_BYTES {
        let message =
            format!("the file has more than {MAX_BYTES} bytes, which no `cog.yaml` needs");
        return Err(Mistake::new(Place::START, message));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Mistake::new(Place::START, "the file is UTF-16").hint("save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.split_at(error.valid_up_to()).0;
        let place = place_after(&String::from_utf8_lossy(good));
        Mistake::new(place, "the file is not UTF-8").hint("save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.char_indices().find(|&(_, c)| forbidden(c)) {
        None => Ok(text),
        Some((offset, c)) => {
            let message = format!("the character U+{:04X} may not stand in YAML", u32::from(c));
            let hint = "remove it, or write it as an escape in double quotes";
            Err(Mistake::new(place_after(&text[..offset]), message).hint(hint))
        }
    }
}

/// What YAML leaves out of its set of printable characters. U+0085 is in it.
fn forbidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The place of what follows this text. A line ends at `\n`, `\r\n` or `\r`.
fn place_after(text: &str) -> Place {
    let mut place = Place::START;
    let mut previous = ' ';
    for c in text.chars() {
        match c {
            '\n' if previous == '\r' => {}
            '\n' | '\r' => place = Place { line: place.line + 1, column: 1 },
            // A byte-order mark has no width in any editor.
            '\u{feff}' if place == Place::START => {}
            _ => place.column += 1,
        }
        previous = c;
    }
    place
}
