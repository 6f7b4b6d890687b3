//! The header of a safetensors file, checked as untrusted input: eight bytes of length, a JSON object, then the data.
//!
//! A reader may rely on what passes here: each tensor has the bytes of its shape, the tensors fill the file with no hole or
//! overlap, and neither sizes nor strides overflow.

use std::collections::BTreeMap;
use std::io::Read;

use super::json::{RawHeader, RawSlot};
use crate::error::{counted, printable, printable_name};
use safetensors::Dtype;

/// The limit of the format itself.
const HEADER_BYTES: u64 = 100_000_000;
/// The bytes before the header.
const LENGTH_BYTES: u64 = 8;
/// The reason for which a tensor is not opened or saved.
pub(super) const TOO_LARGE: &str = "is too large to address";

/// The entry of one tensor in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Its first byte, counted from the start of the file.
    pub(super) begin: u64,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, Slot>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Returns whether a file begins like a safetensors file.
pub(super) fn looks_like_safetensors(start: &[u8]) -> bool {
    // No header reaches 4 GiB.
    matches!(start, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

/// Reads the header of a file of `size` bytes.
pub(super) fn read(mut source: impl Read, size: u64) -> Result<Header, String> {
    let failed = |error: std::io::Error| crate::error::plain_io(&error);
    if size == 0 {
        return Err("is empty".to_owned());
    }
    let mut length = [0; size_of::<u64>()];
    if size < LENGTH_BYTES {
        return Err(format!("is not a safetensors file: it has {}", counted(size, "byte")));
    }
    source.read_exact(&mut length).map_err(failed)?;
    let length = u64::from_le_bytes(length);
    let mut first = [0];
    if size > LENGTH_BYTES {
        source.read_exact(&mut first).map_err(failed)?;
    }
    if length > 0 && size > LENGTH_BYTES && first[0] != b'{' {
        return Err("is not a safetensors file".to_owned());
    }
    if length > HEADER_BYTES {
        return Err(format!(
            "has a header of {length} bytes, more than the limit of {HEADER_BYTES}"
        ));
    }
    let room = size - LENGTH_BYTES;
    if length > room {
        return Err(format!(
            "is truncated: its header has {} and {room} are there",
            counted(length, "byte")
        ));
    }
    if length == 0 {
        return Err("has an empty header".to_owned());
    }
    let mut text = first.to_vec();
    source.take(length - 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 != length {
        return Err("is truncated: its header ends early".to_owned());
    }
    let text =
        std::str::from_utf8(&text).map_err(|_| "has a header that is not UTF-8".to_owned())?;
    let raw: RawHeader = serde_json::from_str(text)
        .map_err(|error| format!("has a header that cannot be read: {}", printable(error)))?;
    check(raw, LENGTH_BYTES + length, room - length)
}

/// Checks each tensor, then that they tile the `room` bytes of data from the byte `start` of the file on.
fn check(raw: RawHeader, start: u64, room: u64) -> Result<Header, String> {
    let mut tensors = BTreeMap::new();
    for (name, raw) in raw.tensors {
        let slot = check_tensor(raw, start, room)
            .map_err(|reason| format!("tensor `{}` {reason}", printable_name(&name)))?;
        tensors.insert(name, slot);
    }
    let mut order: Vec<(&String, &Slot)> = tensors.iter().collect();
    order.sort_by_key(|(_, slot)| (slot.begin, slot.bytes));
    let mut filled = start;
    let mut before: Option<&String> = None;
    for (name, slot) in order {
        if let (Some(before), true) = (before, slot.begin < filled) {
            let (name, before) = (printable_name(name), printable_name(before));
            return Err(format!("tensor `{name}` overlaps tensor `{before}`"));
        }
        if slot.begin > filled {
            let (hole, name) = (slot.begin - filled, printable_name(name));
            return Err(format!("has a hole of {} before tensor `{name}`", counted(hole, "byte")));
        }
        filled = slot.begin + slot.bytes as u64;
        before = Some(name);
    }
    let end = start + room;
    if filled != end {
        return Err(format!("has {} outside of any tensor", counted(end - filled, "byte")));
    }
    Ok(Header { tensors, metadata: raw.metadata })
}

fn check_tensor(raw: RawSlot, start: u64, room: u64) -> Result<Slot, String> {
    let dtype = raw
        .dtype()
        .ok_or_else(|| format!("is of the unknown dtype `{}`", printable_name(&raw.dtype)))?;
    let (begin, end) = raw.data_offsets;
    let shape = raw.shape;
    let bytes = bytes_of(dtype, &shape)?;
    if end < begin {
        return Err(format!("ends at byte {end}, before it begins at {begin}"));
    }
    if end > room {
        return Err(format!("ends at byte {end} of {room}: the file is truncated"));
    }
    if end - begin != bytes as u64 {
        let found = end - begin;
        return Err(format!(
            "is {dtype} of shape {shape:?}, which is {}, and has {found}",
            counted(bytes, "byte")
        ));
    }
    Ok(Slot { dtype, shape, begin: start + begin, bytes })
}

/// Returns the bytes of a tensor.
pub(super) fn bytes_of(dtype: Dtype, shape: &[usize]) -> Result<usize, String> {
    // A dimension of 0 counts as 1: strides are products of the others, and must not overflow either.
    let bits = shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size.max(1)))
        .and_then(|count| count.checked_mul(dtype.bitsize()))
        .ok_or_else(|| format!("of shape {shape:?} {TOO_LARGE}"))?;
    let bits = if shape.contains(&0) { 0 } else { bits };
    if bits % 8 != 0 {
        return Err("does not fill whole bytes".to_owned());
    }
    Ok(bits / 8)
}
