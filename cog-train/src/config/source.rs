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

/// The lines of a text, as YAML counts them: each ends at `\n`, `\r\n` or `\r`.
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

/// The place of what follows this text.
fn place_after(text: &str) -> Place {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (count, last) = lines(text).enumerate().last().unwrap_or_default();
    Place { line: count + 1, column: last.chars().count() + 1 }
}
