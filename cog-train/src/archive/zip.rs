//! Zip: the directory at the end, checked against every local header, with no byte that belongs to nobody.
//!
//! A reader that goes by the directory and one that goes from header to header see the same members of what passes
//! here: the members lie one behind the other from the first byte to the directory.

mod directory;
mod member;

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::names::shown;
use super::stream::refuse;
use super::{Kind, Limits, Visit};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The flag for sizes behind the data.
const SIZES_BEHIND: u16 = 1 << 3;

/// An entry of the directory.
struct Entry {
    name: Vec<u8>,
    plain: Option<String>,
    kind: Kind,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    /// Where its local header is.
    at: u64,
    /// Where the next member or the directory begins.
    until: u64,
}

pub(super) fn read(
    mut source: impl BufRead + Seek,
    size: u64,
    limits: &Limits,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let directory = directory::find(&mut source, size)?;
    for entry in directory::entries(&mut source, &directory, size, limits)? {
        member::read(&mut source, &entry, visit)?;
    }
    Ok(())
}

/// Puts the 64-bit values of the zip64 extra field in the place of those that are all ones.
fn widen(extra: &[u8], values: &mut [&mut u64], name: &[u8]) -> io::Result<()> {
    const ZIP64: u16 = 1;
    let full = u64::from(u32::MAX);
    let mut wide: &[u8] = match extra_field(extra, ZIP64, name)? {
        Some(field) => field,
        None if values.iter().any(|value| **value == full) => {
            return Err(bad(name, "has no zip64 sizes where it needs them"));
        }
        None => return Ok(()),
    };
    for value in values.iter_mut().filter(|value| ***value == full) {
        let (first, rest) =
            wide.split_first_chunk::<8>().ok_or_else(|| bad(name, "has broken zip64 sizes"))?;
        **value = u64::from_le_bytes(*first);
        wide = rest;
    }
    Ok(())
}

/// Info-ZIP's second name. A reader may prefer it, so it must be the first one again.
fn check_unicode_name(extra: &[u8], name: &[u8]) -> io::Result<()> {
    const UNICODE_NAME: u16 = 0x7075;
    match extra_field(extra, UNICODE_NAME, name)? {
        // A version byte and the sum of the first name come before it.
        Some(field) if field.get(5..) != Some(name) => Err(bad(name, "has a second name")),
        _ => Ok(()),
    }
}

fn extra_field<'a>(mut extra: &'a [u8], wanted: u16, name: &[u8]) -> io::Result<Option<&'a [u8]>> {
    let broken = || bad(name, "has an extra field that cannot be read");
    let mut found = None;
    while !extra.is_empty() {
        let (head, rest) = extra.split_first_chunk::<4>().ok_or_else(broken)?;
        let field = rest.get(..usize::from(u16_at(head, 2))).ok_or_else(broken)?;
        if u16_at(head, 0) == wanted && found.replace(field).is_some() {
            return Err(bad(name, "has the same extra field twice"));
        }
        extra = &rest[field.len()..];
    }
    Ok(found)
}

fn bad(name: &[u8], what: &str) -> io::Error {
    refuse(format!("member `{}` {what}", shown(name)))
}

fn bytes_at(source: &mut (impl BufRead + Seek), at: u64, count: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at))?;
    table_bytes(source, count)
}

fn table_bytes(source: &mut (impl Read + ?Sized), count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(count).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != count {
        return Err(refuse("is truncated: the zip ends early"));
    }
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
