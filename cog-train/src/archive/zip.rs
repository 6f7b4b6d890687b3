//! Zip: the directory at the end, checked against every local header, with no byte that belongs to nobody.
//!
//! A reader that goes by the directory and one that goes from header to header see the same members of what passes
//! here: the members lie one behind the other from the first byte to the directory.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::names::{Names, shown};
use super::stream::{Exact, refuse};
use super::{Give, Kind, Limits, hand_out};

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

const END_BYTES: u64 = 22;
const LOCATOR_BYTES: u64 = 20;
const END_64_BYTES: u64 = 56;
const ENTRY_BYTES: u64 = 46;
const LOCAL_BYTES: u64 = 30;

/// Flags that change nothing here: the deflate level, sizes behind the data, a name in UTF-8.
const KNOWN_FLAGS: u16 = 0b0000_1000_0000_1110;
const SIZES_BEHIND: u16 = 1 << 3;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

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
    give: &mut Give<'_>,
) -> io::Result<()> {
    let directory = find_directory(&mut source, size)?;
    for entry in entries(&mut source, &directory, size, limits)? {
        member(&mut source, &entry, give)?;
    }
    Ok(())
}

struct Directory {
    at: u64,
    bytes: u64,
    count: u64,
}

/// The end record must end the file, and the directory must end where the end record begins.
fn find_directory(source: &mut (impl BufRead + Seek), size: u64) -> io::Result<Directory> {
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
            0 if memchr_sequence(&tail, END) => "has bytes after the end of the zip",
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
            return Err(refuse("has a zip64 end that is not where it says"));
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
        return Err(refuse("has a directory that is not where it says"));
    }
    Ok(Directory { at, bytes, count: total })
}

/// All entries in the order of their data, named, sized, and without gap or overlap.
fn entries(
    source: &mut (impl BufRead + Seek),
    directory: &Directory,
    size: u64,
    limits: &Limits,
) -> io::Result<Vec<Entry>> {
    if directory.count > limits.members {
        return Err(refuse(format!("holds more than the limit of {} members", limits.members)));
    }
    let mut names = Names::new(limits);
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
        return Err(bad(&name, &format!("is stored in {packed} bytes but has {size}")));
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

/// What the name says, if the system's attributes agree.
fn kind(name: &[u8], made_by: u16, attributes: u32) -> io::Result<Kind> {
    const DOS_FOLDER: u32 = 0x10;
    const UNIX: u16 = 3;
    const MACOS: u16 = 19;
    let named = if name.ends_with(b"/") { Kind::Folder } else { Kind::File };
    let host = made_by >> 8;
    // A mode is kept by other hosts too, and unpackers apply it whatever the host says.
    let mode_kind = (attributes >> 16) & 0o170_000;
    let said = match mode_kind {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Folder,
        0o120_000 => return Err(bad(name, "is a symbolic link")),
        0o020_000 | 0o060_000 => return Err(bad(name, "is a device")),
        0o010_000 => return Err(bad(name, "is a pipe")),
        0 if attributes & DOS_FOLDER != 0 && ![UNIX, MACOS].contains(&host) => Kind::Folder,
        0 => named,
        _ => return Err(bad(name, "is of an unknown type")),
    };
    if said != named {
        return Err(bad(name, "is a file by its name or its mode and a folder by the other"));
    }
    Ok(named)
}

/// Hands out one member after its local header agreed with the directory.
fn member(
    source: &mut (impl BufRead + Seek),
    entry: &Entry,
    give: &mut Give<'_>,
) -> io::Result<()> {
    let name = &entry.name;
    let overlap = || bad(name, "overlaps the next member");
    let room = entry.until.checked_sub(entry.at).ok_or_else(overlap)?;
    if room < LOCAL_BYTES {
        return Err(overlap());
    }
    let fixed = bytes_at(source, entry.at, LOCAL_BYTES)?;
    if !fixed.starts_with(&LOCAL) {
        return Err(bad(name, "is not where the directory says"));
    }
    let [name_bytes, extra_bytes] = [u16_at(&fixed, 26), u16_at(&fixed, 28)].map(u64::from);
    let head = LOCAL_BYTES + name_bytes + extra_bytes;
    let behind = room
        .checked_sub(head)
        .and_then(|rest| rest.checked_sub(entry.packed))
        .ok_or_else(overlap)?;
    let local_name = table_bytes(source, name_bytes)?;
    let extra = table_bytes(source, extra_bytes)?;
    if local_name != *name {
        return Err(bad(name, &format!("is called `{}` in its own header", shown(&local_name))));
    }
    check_unicode_name(&extra, name)?;
    let mut packed = u64::from(u32_at(&fixed, 18));
    let mut size = u64::from(u32_at(&fixed, 22));
    widen(&extra, &mut [&mut size, &mut packed], name)?;
    let same = |local: u64, directory: u64| {
        local == directory || (entry.flags & SIZES_BEHIND != 0 && local == 0)
    };
    if u16_at(&fixed, 6) != entry.flags
        || u16_at(&fixed, 8) != entry.method
        || !same(u64::from(u32_at(&fixed, 14)), u64::from(entry.crc))
        || !same(packed, entry.packed)
        || !same(size, entry.size)
    {
        return Err(bad(name, "has a header that differs from the directory"));
    }

    data(source, entry, give)?;

    let rest = table_bytes(source, behind.min(25))?;
    if rest.is_empty() && entry.flags & SIZES_BEHIND == 0 {
        return Ok(());
    }
    if entry.flags & SIZES_BEHIND == 0 || rest.len() > 24 {
        return Err(bad(name, "is followed by bytes that belong to no member"));
    }
    let wide = [u64::from(entry.crc), entry.packed, entry.size];
    let record = match rest.len() {
        16 | 24 => rest.strip_prefix(&DESCRIPTOR),
        _ => Some(&rest[..]),
    };
    let told = record.and_then(|record| match record.len() {
        12 => Some([0, 4, 8].map(|at| u64::from(u32_at(record, at)))),
        20 => Some([u64::from(u32_at(record, 0)), u64_at(record, 4), u64_at(record, 12)]),
        _ => None,
    });
    if told != Some(wide) {
        return Err(bad(name, "has sizes behind its data that differ from the directory"));
    }
    Ok(())
}

/// The bytes of a member: as many as it says, by the sum it says, from all that is stored and no more.
fn data(source: &mut impl BufRead, entry: &Entry, give: &mut Give<'_>) -> io::Result<()> {
    let name = &entry.name;
    let mut packed = source.by_ref().take(entry.packed);
    let short = format!("member `{}` has fewer bytes than it says", shown(name));
    if entry.method == STORED {
        return summed(&mut packed, &short, entry, give);
    }
    let mut decoder = flate2::bufread::DeflateDecoder::new(&mut packed);
    summed(&mut Inflated(&mut decoder, name), &short, entry, give)?;
    if Inflated(&mut decoder, name).read(&mut [0])? != 0 {
        return Err(bad(name, "has more bytes than it says"));
    }
    if packed.limit() != 0 {
        return Err(bad(name, "has bytes behind its packed data"));
    }
    Ok(())
}

fn summed(inner: &mut dyn Read, short: &str, entry: &Entry, give: &mut Give<'_>) -> io::Result<()> {
    let exact = Exact { inner, left: entry.size, short };
    let mut body = Summed { exact, sum: flate2::Crc::new(), entry };
    match &entry.plain {
        Some(plain) => hand_out(plain, entry.kind, entry.size, &mut body, give)?,
        None => drop(io::copy(&mut body, &mut io::sink())?),
    }
    // The sum of nothing is 0, and an empty member is never read.
    if entry.size == 0 { body.check() } else { Ok(()) }
}

/// Checks the sum when the last byte is read, so that whoever has the whole file has a right one.
struct Summed<'a> {
    exact: Exact<'a>,
    sum: flate2::Crc,
    entry: &'a Entry,
}

impl Summed<'_> {
    fn check(&self) -> io::Result<()> {
        if self.sum.sum() == self.entry.crc {
            return Ok(());
        }
        Err(bad(&self.entry.name, "does not have the check sum that it says"))
    }
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.exact.read(buffer)?;
        self.sum.update(&buffer[..count]);
        if count > 0 && self.exact.left == 0 {
            self.check()?;
        }
        Ok(count)
    }
}

struct Inflated<'a, R>(&'a mut flate2::bufread::DeflateDecoder<R>, &'a [u8]);

impl<R: BufRead> Read for Inflated<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof => bad(self.1, "has corrupt deflate data"),
            _ => error,
        })
    }
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

fn memchr_sequence(bytes: &[u8], sequence: [u8; 4]) -> bool {
    bytes.windows(4).any(|window| window == sequence)
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
