//! A member of a zip: its local header, its data, and the sizes behind it.

use std::io::{self, BufRead, Read, Seek};

use super::super::names::shown;
use super::super::stream::Exact;
use super::super::{Visit, hand_out};
use super::{
    Entry, SIZES_BEHIND, STORED, bad, bytes_at, check_unicode_name, table_bytes, u16_at, u32_at,
    u64_at, widen,
};

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const LOCAL_BYTES: u64 = 30;

/// Hands out one member after its local header agreed with the directory.
pub(super) fn read(
    source: &mut (impl BufRead + Seek),
    entry: &Entry,
    visit: &mut Visit<'_>,
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

    data(source, entry, visit)?;

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
    let descriptor = record.and_then(|record| match record.len() {
        12 => Some([0, 4, 8].map(|at| u64::from(u32_at(record, at)))),
        20 => Some([u64::from(u32_at(record, 0)), u64_at(record, 4), u64_at(record, 12)]),
        _ => None,
    });
    if descriptor != Some(wide) {
        return Err(bad(name, "has sizes behind its data that differ from the directory"));
    }
    Ok(())
}

/// The bytes of a member: as many as it says, by the sum it says, from all that is stored and no more.
fn data(source: &mut impl BufRead, entry: &Entry, visit: &mut Visit<'_>) -> io::Result<()> {
    let name = &entry.name;
    let mut packed = source.by_ref().take(entry.packed);
    let short = format!("member `{}` has fewer bytes than it says", shown(name));
    if entry.method == STORED {
        return summed(&mut packed, &short, entry, visit);
    }
    let mut decoder = flate2::bufread::DeflateDecoder::new(&mut packed);
    summed(&mut Inflated(&mut decoder, name), &short, entry, visit)?;
    if Inflated(&mut decoder, name).read(&mut [0])? != 0 {
        return Err(bad(name, "has more bytes than it says"));
    }
    if packed.limit() != 0 {
        return Err(bad(name, "has bytes behind its packed data"));
    }
    Ok(())
}

fn summed(
    inner: &mut dyn Read,
    short: &str,
    entry: &Entry,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let exact = Exact { inner, left: entry.size, short };
    let mut body = Summed { exact, sum: flate2::Crc::new(), entry };
    match &entry.plain {
        Some(plain) => hand_out(plain, entry.kind, entry.size, &mut body, visit)?,
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
