//! The directory of a zip: the records at its end, and its entries.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::super::names::{Names, shown};
use super::super::stream::refuse;
use super::super::{Kind, Limits};
use super::{
    DEFLATED, Entry, SIZES_BEHIND, STORED, bad, bytes_at, check_unicode_name, table_bytes, u16_at,
    u32_at, u64_at, widen,
};
use crate::error::counted;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const ENTRY: [u8; 4] = *b"PK\x01\x02";

const END_BYTES: u64 = 22;
const LOCATOR_BYTES: u64 = 20;
const END_64_BYTES: u64 = 56;
const ENTRY_BYTES: u64 = 46;

/// Flags that change nothing here: the deflate level, sizes behind the data, a name in UTF-8.
const KNOWN_FLAGS: u16 = 0b0000_1000_0000_0110 | SIZES_BEHIND;

pub(super) struct Directory {
    at: u64,
    bytes: u64,
    count: u64,
}

/// The end record must end the file, and the directory must end where the end record begins.
pub(super) fn find(source: &mut (impl BufRead + Seek), size: u64) -> io::Result<Directory> {
    let tail_bytes = size.min(END_BYTES + u64::from(u16::MAX));
    let tail_at = size - tail_bytes;
    let tail = bytes_at(source, tail_at, tail_bytes)?;
    let ends: Vec<usize> = (0..=tail.len().saturating_sub(22))
        .filter(|&at| tail[at..].starts_with(&END))
        .filter(|&at| {
            tail.len() >= at + 22 && at + 22 + usize::from(u16_at(&tail, at + 20)) == tail.len()
        })
        .collect();
    let [end] = ends[..] else {
        return Err(refuse(match ends.len() {
            0 if tail.windows(4).any(|window| window == END) => {
                "has bytes after the end of the zip"
            }
            0 => "is truncated: the zip has no end",
            _ => "has two ends of a zip",
        }));
    };
    let record = &tail[end..];
    let mut end_at = tail_at + end as u64;
    let disks = [u16_at(record, 4), u16_at(record, 6)];
    let [count_here, count] = [u16_at(record, 8), u16_at(record, 10)];
    let (mut bytes, mut at) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    let mut total = u64::from(count);
    if disks != [0, 0] || count_here != count {
        return Err(refuse("is one part of a zip in several"));
    }

    let locator = match end_at.checked_sub(LOCATOR_BYTES) {
        Some(at) => {
            Some(bytes_at(source, at, LOCATOR_BYTES)?).filter(|it| it.starts_with(&LOCATOR_64))
        }
        None => None,
    };
    if let Some(locator) = locator {
        let record_at = u64_at(&locator, 8);
        let expected = end_at.checked_sub(LOCATOR_BYTES + END_64_BYTES);
        if expected != Some(record_at) || u32_at(&locator, 4) != 0 || u32_at(&locator, 16) != 1 {
            return Err(refuse("has a zip64 end that is not where it should be"));
        }
        let record = bytes_at(source, record_at, END_64_BYTES)?;
        if !record.starts_with(&END_64) || u64_at(&record, 4) != END_64_BYTES - 12 {
            return Err(refuse("has a zip64 end that cannot be read"));
        }
        let wide = [u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48)];
        let narrow =
            [(total, u64::from(u16::MAX)), (bytes, u64::from(u32::MAX)), (at, u64::from(u32::MAX))];
        let agree = narrow.iter().zip(wide).all(|(&(old, full), new)| old == full || old == new);
        if !agree
            || u64_at(&record, 24) != wide[0]
            || u32_at(&record, 16) != 0
            || u32_at(&record, 20) != 0
        {
            return Err(refuse("has two ends that contradict each other"));
        }
        [total, bytes, at] = wide;
        end_at = record_at;
    }
    if at.checked_add(bytes) != Some(end_at) {
        return Err(refuse("has a directory that is not where it should be"));
    }
    Ok(Directory { at, bytes, count: total })
}

/// Returns all entries in the order of their data, which is contiguous: no gap and no overlap.
pub(super) fn entries(
    source: &mut (impl BufRead + Seek),
    directory: &Directory,
    size: u64,
    limits: &Limits,
) -> io::Result<Vec<Entry>> {
    limits.check_entries(directory.count, size).map_err(refuse)?;
    let mut names = Names::new(limits, size);
    let mut entries = Vec::new();
    let mut total = 0_u64;
    source.seek(SeekFrom::Start(directory.at))?;
    let mut table = source.by_ref().take(directory.bytes);
    for _ in 0..directory.count {
        let entry = entry(&mut table, &mut names)?;
        limits.check_member(&shown(&entry.name), entry.size).map_err(refuse)?;
        total = total.saturating_add(entry.size);
        limits.check_total(total, size).map_err(refuse)?;
        entries.push(entry);
    }
    if table.limit() > 0 {
        return Err(refuse("has more in its directory than it counts"));
    }

    entries.sort_by_key(|entry| entry.at);
    let mut next = directory.at;
    for entry in entries.iter_mut().rev() {
        entry.until = next;
        next = entry.at;
    }
    if next != 0 {
        return Err(refuse("has bytes before its first member"));
    }
    Ok(entries)
}

fn entry(table: &mut dyn Read, names: &mut Names<'_>) -> io::Result<Entry> {
    let fixed = table_bytes(table, ENTRY_BYTES)?;
    if !fixed.starts_with(&ENTRY) {
        return Err(refuse("has a directory that cannot be read"));
    }
    let name = table_bytes(table, u64::from(u16_at(&fixed, 28)))?;
    let extra = table_bytes(table, u64::from(u16_at(&fixed, 30)))?;
    table_bytes(table, u64::from(u16_at(&fixed, 32)))?;

    let [flags, method] = [u16_at(&fixed, 8), u16_at(&fixed, 10)];
    let mut packed = u64::from(u32_at(&fixed, 20));
    let mut size = u64::from(u32_at(&fixed, 24));
    let mut at = u64::from(u32_at(&fixed, 42));
    widen(&extra, &mut [&mut size, &mut packed, &mut at], &name)?;
    check_unicode_name(&extra, &name)?;

    let kind = kind(&name, u16_at(&fixed, 4), u32_at(&fixed, 38))?;
    if flags & 1 != 0 {
        return Err(bad(&name, "is encrypted"));
    }
    if flags & !KNOWN_FLAGS != 0 {
        return Err(bad(&name, &format!("has the unknown flags {:#06x}", flags & !KNOWN_FLAGS)));
    }
    if ![STORED, DEFLATED].contains(&method) {
        return Err(bad(&name, &format!("is packed by the unsupported method {method}")));
    }
    if method == STORED && packed != size {
        return Err(bad(
            &name,
            &format!("is stored in {} but has {size}", counted(packed, "byte")),
        ));
    }
    if kind == Kind::Folder && size != 0 {
        return Err(bad(&name, "is a folder with bytes"));
    }
    if u16_at(&fixed, 34) != 0 {
        return Err(refuse("is one part of a zip in several"));
    }
    let plain = names.add(&name, kind)?;
    Ok(Entry {
        name,
        plain,
        kind,
        flags,
        method,
        crc: u32_at(&fixed, 16),
        packed,
        size,
        at,
        until: 0,
    })
}

/// Returns the kind by the name, if the system's attributes agree.
fn kind(name: &[u8], made_by: u16, attributes: u32) -> io::Result<Kind> {
    const DOS_FOLDER: u32 = 0x10;
    const UNIX: u16 = 3;
    const MACOS: u16 = 19;
    let named = if name.ends_with(b"/") { Kind::Folder } else { Kind::File };
    let host = made_by >> 8;
    // A mode is kept by other hosts too, and unpackers apply it whatever the host says.
    let mode_kind = (attributes >> 16) & 0o170_000;
    let by_mode = match mode_kind {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Folder,
        0o120_000 => return Err(bad(name, "is a symbolic link")),
        0o020_000 | 0o060_000 => return Err(bad(name, "is a device")),
        0o010_000 => return Err(bad(name, "is a pipe")),
        0 if attributes & DOS_FOLDER != 0 && ![UNIX, MACOS].contains(&host) => Kind::Folder,
        0 => named,
        _ => return Err(bad(name, "is of an unknown type")),
    };
    if by_mode != named {
        return Err(bad(
            name,
            "is a file by one of its name and its mode, and a folder by the other",
        ));
    }
    Ok(named)
}
