//! Tar: ustar, GNU's long names and pax headers, read block by block.

use std::io::{self, Read};

use super::names::{Names, shown};
use super::stream::{Exact, refuse};
use super::{Kind, Limits, Visit, hand_out};
use crate::error::counted;

pub(super) const BLOCK: usize = 512;
/// The most bytes of a pax header or a GNU long name.
const EXTENDED_BYTES: u64 = 1 << 20;

const ENDS_EARLY: &str = "is truncated: the tar ends early";

/// Returns whether a first block is a tar's: its checksum is right, or it holds `ustar`, or it ends an empty tar.
pub(super) fn looks_like_tar(start: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(start) else { return false };
    is_zero(block) || &block[257..262] == b"ustar" || checksum_matches(block)
}

/// The pax and GNU headers that precede a member.
#[derive(Default)]
struct ExtendedHeaders {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
}

#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Hands out the members of a tar in an archive of `size` bytes.
pub(super) fn read(
    source: &mut dyn Read,
    size: u64,
    limits: &Limits,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let mut names = Names::new(limits, size);
    let mut extended_headers = ExtendedHeaders::default();
    let mut first = true;
    loop {
        let block = next_block(source)?;
        if is_zero(&block) {
            break;
        }
        if !checksum_matches(&block) {
            return Err(refuse(if first {
                "is not a tar: the checksum of its first header is wrong"
            } else {
                "has a header whose checksum is wrong"
            }));
        }
        first = false;
        let stored = stored_name(&block)?;
        let header_size = number(&block[124..136])
            .ok_or_else(|| member(&stored, "has a size that is not a number"))?;
        match block[156] {
            b'x' if extended_headers.pax.is_some() => {
                return Err(refuse("has two pax headers for one member"));
            }
            b'x' => extended_headers.pax = Some(pax(&extended(source, header_size)?, false)?),
            b'g' => drop(pax(&extended(source, header_size)?, true)?),
            b'L' if extended_headers.long_name.is_some() => {
                return Err(refuse("has two long names for one member"));
            }
            b'L' => extended_headers.long_name = Some(long_name(extended(source, header_size)?)?),
            flag => {
                let extended = std::mem::take(&mut extended_headers);
                let (name, size) = reconcile(stored, header_size, extended)?;
                let kind = kind(flag, &name)?;
                if kind == Kind::Folder && size != 0 {
                    return Err(member(&name, "is a folder with bytes"));
                }
                limits.check_member(&shown(&name), size).map_err(refuse)?;
                if let Some(name) = names.add(&name, kind)? {
                    let mut body = Exact { inner: source, left: size, short: ENDS_EARLY };
                    hand_out(&name, kind, size, &mut body, visit)?;
                }
                skip(source, padding(size))?;
            }
        }
    }
    if extended_headers.pax.is_some() || extended_headers.long_name.is_some() {
        return Err(refuse("ends after a header that belongs to a next member"));
    }
    end(source)
}

/// Returns the name and the size that hold. Readers disagree about contradictions, so there may be none.
fn reconcile(
    stored: Vec<u8>,
    header_size: u64,
    extended: ExtendedHeaders,
) -> io::Result<(Vec<u8>, u64)> {
    /// The largest number of eleven octal digits; writers put anything into the header of a larger file.
    const OCTAL_MOST: u64 = 0o777_7777_7777;
    let pax = extended.pax.unwrap_or_default();
    let name = match (pax.path, extended.long_name) {
        (Some(_), Some(long)) => return Err(member(&long, "has a pax name and a GNU name")),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => stored,
    };
    let size = match pax.size {
        Some(size) if size != header_size && size <= OCTAL_MOST => {
            return Err(member(
                &name,
                &format!(
                    "has {} by its pax header and {header_size} by its own",
                    counted(size, "byte")
                ),
            ));
        }
        Some(size) => size,
        None => header_size,
    };
    Ok((name, size))
}

fn kind(flag: u8, name: &[u8]) -> io::Result<Kind> {
    let what = match flag {
        // Before ustar a folder was a file with a slash at its end.
        0 if name.ends_with(b"/") => return Ok(Kind::Folder),
        0 | b'0' if !name.ends_with(b"/") => return Ok(Kind::File),
        b'0' => "is a file named like a folder",
        b'5' => return Ok(Kind::Folder),
        b'1' => "is a hard link",
        b'2' | b'K' => "is a symbolic link",
        b'3' | b'4' => "is a device",
        b'6' => "is a pipe",
        b'S' => "is a sparse file",
        other => {
            return Err(member(
                name,
                &format!("is of the unknown type `{}`", [other].escape_ascii()),
            ));
        }
    };
    Err(member(name, what))
}

/// Returns the name in the header itself, with ustar's prefix.
fn stored_name(block: &[u8; BLOCK]) -> io::Result<Vec<u8>> {
    let name = until_nul(&block[..100])?;
    // GNU's own magic has spaces, and keeps times where ustar has the prefix.
    let prefix = if &block[257..263] == b"ustar\0" { until_nul(&block[345..500])? } else { b"" };
    Ok(if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() })
}

/// Returns a text field. Bytes after its NUL would be a name that only some readers see.
fn until_nul(field: &[u8]) -> io::Result<&[u8]> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    if field[end..].iter().any(|&byte| byte != 0) {
        return Err(member(&field[..end], "has bytes behind its name"));
    }
    Ok(&field[..end])
}

/// Parses a number field: octal digits between spaces and NULs, or GNU's big-endian binary.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // The other bits of the first byte are high digits, or the sign.
        let digits = (field[0] == 0x80).then_some(&field[1..])?;
        return digits
            .iter()
            .try_fold(0_u64, |sum, &digit| sum.checked_mul(256)?.checked_add(u64::from(digit)));
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(blank) {
        return None;
    }
    digits[..end].iter().try_fold(0_u64, |sum, &digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads the content of a pax header or a long name.
fn extended(source: &mut dyn Read, size: u64) -> io::Result<Vec<u8>> {
    if size > EXTENDED_BYTES {
        return Err(refuse(format!(
            "has an extended header of {size} bytes, more than the limit of {EXTENDED_BYTES}"
        )));
    }
    let mut content = Vec::new();
    Exact { inner: source, left: size, short: ENDS_EARLY }.read_to_end(&mut content)?;
    skip(source, padding(size))?;
    Ok(content)
}

fn long_name(mut content: Vec<u8>) -> io::Result<Vec<u8>> {
    // GNU counts the NUL.
    if content.last() == Some(&0) {
        content.pop();
    }
    if content.is_empty() {
        return Err(refuse("has an empty long name"));
    }
    Ok(content)
}

/// Parses records of `LENGTH KEY=VALUE\n`, where the length counts itself.
fn pax(content: &[u8], global: bool) -> io::Result<Pax> {
    let broken = || refuse("has a pax header that cannot be read");
    let mut found = Pax::default();
    let mut keys = std::collections::HashSet::new();
    let mut rest = content;
    while !rest.is_empty() {
        let space = rest.iter().position(|&byte| byte == b' ').ok_or_else(broken)?;
        let length = decimal(&rest[..space]).and_then(|length| usize::try_from(length).ok());
        let record = length
            .filter(|&length| length > space + 1)
            .and_then(|length| rest.get(..length))
            .ok_or_else(broken)?;
        rest = &rest[record.len()..];
        let pair = record[space + 1..].strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = pair.iter().position(|&byte| byte == b'=').ok_or_else(broken)?;
        let (key, value) = (&pair[..equals], &pair[equals + 1..]);
        if !keys.insert(key) {
            return Err(refuse(format!("says `{}` twice in a pax header", shown(key))));
        }
        match key {
            b"path" | b"size" | b"linkpath" if global => {
                return Err(refuse(format!("says `{}` for all its members", shown(key))));
            }
            b"path" if value.is_empty() => return Err(refuse("has an empty pax name")),
            b"path" => found.path = Some(value.to_vec()),
            b"size" => found.size = Some(decimal(value).ok_or_else(broken)?),
            b"hdrcharset" if value != b"ISO-IR 10646 2000 UTF-8" => {
                return Err(refuse("has a pax header that is not in UTF-8"));
            }
            // Files with holes, and what else would change the bytes of a file.
            _ if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" => {
                return Err(refuse("holds a sparse file"));
            }
            _ if key.starts_with(b"GNU.dumpdir") || key.starts_with(b"GNU.volume") => {
                return Err(refuse("is a part of a GNU backup"));
            }
            // Times, owners, attributes, comments: not kept.
            _ => {}
        }
    }
    Ok(found)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// Reads the end: a second block of zeros, and only zeros behind it.
fn end(source: &mut dyn Read) -> io::Result<()> {
    if !is_zero(&next_block(source)?) {
        return Err(refuse("has members after its end"));
    }
    let mut buffer = [0; 16 * BLOCK];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) if buffer[..count].iter().any(|&byte| byte != 0) => {
                return Err(refuse("has bytes after its end"));
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

fn next_block(source: &mut dyn Read) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    Exact { inner: source, left: BLOCK as u64, short: ENDS_EARLY }.read_exact(&mut block)?;
    Ok(block)
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Verifies the checksum of a header, in which its own field counts as spaces.
fn checksum_matches(block: &[u8; BLOCK]) -> bool {
    let bytes = block.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    let own = block[148..156].iter().map(|&byte| u64::from(byte)).sum::<u64>();
    number(&block[148..156]) == Some(bytes - own + 8 * u64::from(b' '))
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn skip(source: &mut dyn Read, count: u64) -> io::Result<()> {
    io::copy(&mut Exact { inner: source, left: count, short: ENDS_EARLY }, &mut io::sink())?;
    Ok(())
}

fn member(name: &[u8], what: &str) -> io::Error {
    refuse(format!("member `{}` {what}", shown(name)))
}
