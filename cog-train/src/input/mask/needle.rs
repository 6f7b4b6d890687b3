//! One secret, found in a text in whatever form it was written.

/// The shortest line of a secret that is hidden by itself. A shorter one, such as `{`, occurs in other texts, too.
const MIN_LINE: usize = 8;

/// The most backslashes before one character: three nested escapings.
const MAX_BACKSLASHES: usize = 8;

/// The prefixes of a byte in hexadecimal digits. A percent sign is `%25` when it is encoded again, a backslash is two
/// when it is escaped again.
const BYTE_PREFIXES: [&str; 6] = ["%", "%25", "%2525", r"\x", r"\\x", r"\\\\x"];

/// A text to search for, character by character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Needle(Vec<char>);

/// Returns the texts to search for: each without the space around it, which a program may trim, and its longer
/// lines, which may be shown one at a time.
pub(super) fn needles(secrets: impl IntoIterator<Item = String>) -> Vec<Needle> {
    let mut needles = Vec::new();
    for secret in secrets {
        // `\n` finds `\r\n` too.
        let secret = secret.trim().replace("\r\n", "\n");
        let lines = secret.lines().map(str::trim).filter(|line| {
            line.chars().count() >= MIN_LINE && *line != secret && !is_pem_boundary(line)
        });
        needles.extend(lines.map(Needle::new));
        if !secret.is_empty() {
            needles.push(Needle::new(&secret));
        }
    }
    needles.sort();
    needles.dedup();
    needles
}

/// `-----BEGIN PRIVATE KEY-----`: the same for every key.
fn is_pem_boundary(line: &str) -> bool {
    line.starts_with("-----BEGIN ") || line.starts_with("-----END ")
}

impl Needle {
    fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Returns the end of the longest form of this text that starts at `at`.
    pub(super) fn end_at(&self, text: &str, at: usize) -> Option<usize> {
        let first = *self.0.first()?;
        if !text[at..].starts_with(first) && !text[at..].starts_with(['\\', '%', '+', '\r']) {
            return None;
        }
        // Every offset that the characters so far may end at: `\\` is two backslashes, or an escaped one.
        let mut ends = vec![at];
        for &c in &self.0 {
            let mut next = Vec::new();
            for at in ends {
                push_ends(c, text, at, &mut next);
            }
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return None;
            }
            ends = next;
        }
        ends.last().copied()
    }
}

/// Adds the end of each form of `c` that starts at `at`.
fn push_ends(c: char, text: &str, at: usize, ends: &mut Vec<usize>) {
    if text[at..].starts_with(c) {
        ends.push(at + c.len_utf8());
    }
    if c == ' ' && text[at..].starts_with('+') {
        ends.push(at + 1);
    }
    push_backslashed(c, text, at, ends);
    ends.extend(BYTE_PREFIXES.iter().filter_map(|prefix| bytes_end(prefix, c, text, at)));
    if c == '\n' {
        let mut after_return = Vec::new();
        push_ends('\r', text, at, &mut after_return);
        for at in after_return {
            push_ends(c, text, at, ends);
        }
    }
}

/// Adds the end of each form of `c` that starts with backslashes; nested escapings multiply them.
fn push_backslashed(c: char, text: &str, at: usize, ends: &mut Vec<usize>) {
    let run = text[at..].bytes().take_while(|&b| b == b'\\').count();
    if run == 0 {
        return;
    }
    if c == '\\' {
        ends.extend([2, 4, 8].into_iter().filter(|&count| count <= run).map(|count| at + count));
    }
    if run > MAX_BACKSLASHES {
        return;
    }
    let after = at + run;
    let Some(next) = text[after..].chars().next() else { return };
    let escaped = match next {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        '0' => '\0',
        'e' => '\u{1b}',
        // `\"`, `\'`, `\/`, `\$`: a letter or digit would be an escape of its own.
        other if other.is_ascii_punctuation() || other == ' ' => other,
        _ => {
            ends.extend(code_end(c, text, after));
            return;
        }
    };
    if escaped == c {
        ends.push(after + 1);
    }
}

/// Returns the end of `xHH`, `uHHHH`, `u{H}` or `UHHHHHHHH` when it encodes `c`.
fn code_end(c: char, text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    if let Some(braced) = rest.strip_prefix("u{") {
        let (digits, _) = braced.split_once('}')?;
        return (hex(digits)? == u32::from(c)).then_some(at + "u{}".len() + digits.len());
    }
    let length = match rest.as_bytes().first()? {
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        _ => return None,
    };
    let code = hex(rest.get(1..=length)?)?;
    let end = at + 1 + length;
    if code == u32::from(c) {
        return Some(end);
    }
    // JSON writes what is beyond U+FFFF as two surrogates.
    let mut units = [0; 2];
    let [high, low] = *c.encode_utf16(&mut units) else { return None };
    if length != 4 || code != u32::from(high) {
        return None;
    }
    let run = text[end..].bytes().take_while(|&b| b == b'\\').count();
    let second = text[end + run..].strip_prefix('u')?.get(..4)?;
    (run > 0 && hex(second)? == u32::from(low)).then_some(end + run + 5)
}

/// Returns the end of `c` when each byte of its UTF-8 is `prefix` and two hexadecimal digits.
fn bytes_end(prefix: &str, c: char, text: &str, mut at: usize) -> Option<usize> {
    let mut utf8 = [0; 4];
    for byte in c.encode_utf8(&mut utf8).bytes() {
        let digits = text[at..].strip_prefix(prefix)?.get(..2)?;
        if hex(digits)? != u32::from(byte) {
            return None;
        }
        at += prefix.len() + digits.len();
    }
    Some(at)
}

/// Parses hexadecimal digits. `from_str_radix` alone would accept a sign.
fn hex(digits: &str) -> Option<u32> {
    let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if all { u32::from_str_radix(digits, 16).ok() } else { None }
}
