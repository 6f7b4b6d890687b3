//! The header of a safetensors file, checked as untrusted input: eight bytes of length, a JSON object, then the data.
//!
//! A reader may rely on what passes here: each tensor has the bytes of its shape, the tensors fill the file with no hole or
//! overlap, and neither sizes nor strides overflow.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::Read;

use safetensors::Dtype;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{printable, printable_name};

/// The limit of the format itself.
const HEADER_BYTES: u64 = 100_000_000;
/// The bytes before the header.
const LENGTH_BYTES: u64 = 8;
/// The most dimensions of a tensor, as in NumPy and PyTorch.
const MAX_DIMS: usize = 64;
/// Why a tensor is not opened or saved.
pub(super) const TOO_LARGE: &str = "is too large to address";
/// The header's entry that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

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
        return Err(format!("is not a safetensors file: it has {size} bytes"));
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
        return Err(format!("is truncated: its header has {length} bytes and {room} are there"));
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
            return Err(format!("has a hole of {hole} bytes before tensor `{name}`"));
        }
        filled = slot.begin + slot.bytes as u64;
        before = Some(name);
    }
    let end = start + room;
    if filled != end {
        return Err(format!("has {} bytes that belong to no tensor", end - filled));
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
            "is {dtype} of shape {shape:?}, which is {bytes} bytes, and has {found}"
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

/// The JSON before the checks. Its maps are read by hand, for serde's own take the last of two equal keys.
struct RawHeader {
    tensors: BTreeMap<String, RawSlot>,
    metadata: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlot {
    dtype: String,
    #[serde(deserialize_with = "shape")]
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl RawSlot {
    fn dtype(&self) -> Option<Dtype> {
        let text = de::value::StrDeserializer::<de::value::Error>::new(&self.dtype);
        Dtype::deserialize(text).ok()
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        if std::mem::replace(&mut has_metadata, true) {
                            return Err(de::Error::custom("`__metadata__` is there twice"));
                        }
                        header.metadata = map.next_value::<Texts>()?.0;
                        continue;
                    }
                    let of_tensor = |error| {
                        de::Error::custom(format_args!(
                            "tensor `{}`: {error}",
                            printable_name(&name)
                        ))
                    };
                    let slot = map.next_value::<Object>().map_err(of_tensor)?.0;
                    match header.tensors.entry(name) {
                        Entry::Vacant(place) => drop(place.insert(slot)),
                        Entry::Occupied(place) => {
                            let name = printable_name(place.key());
                            return Err(de::Error::custom(format_args!(
                                "tensor `{name}` is there twice"
                            )));
                        }
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// Reads a shape without keeping more than [`MAX_DIMS`] dimensions.
fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    struct Dims;

    impl<'de> Visitor<'de> for Dims {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of dimensions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<usize>, A::Error> {
            let mut dims = Vec::new();
            while let Some(size) = list.next_element()? {
                if dims.len() == MAX_DIMS {
                    return Err(de::Error::custom(format_args!(
                        "more than the limit of {MAX_DIMS} dimensions"
                    )));
                }
                dims.push(size);
            }
            Ok(dims)
        }
    }

    deserializer.deserialize_seq(Dims)
}

/// A slot that is a JSON object; serde's own reading takes a list of its fields as well.
struct Object(RawSlot);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of `dtype`, `shape` and `data_offsets`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object, A::Error> {
                RawSlot::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// The metadata: texts under distinct keys.
struct Texts(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if let Some(_old) = texts.insert(key, value) {
                        return Err(de::Error::custom("a key of the metadata is there twice"));
                    }
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
