//! The header of a safetensors file, checked as a stranger's: eight bytes of length, a JSON object, then the data.
//!
//! What passes here, a reader may trust: each tensor has the bytes of its shape, and the tensors fill the file without
//! hole or overlap.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::Read;

use safetensors::Dtype;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// The format's own limit.
const HEADER_BYTES: u64 = 100_000_000;
/// The bytes before the header.
const LENGTH_BYTES: u64 = 8;
/// The header's entry that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// What the header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Its first byte in the file.
    pub(super) begin: u64,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, Slot>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Whether a file begins like a safetensors file.
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
        .map_err(|error| format!("has a header that cannot be read: {error}"))?;
    check(raw, LENGTH_BYTES + length, room - length)
}

/// Checks every tensor for itself, then that they tile the `room` bytes of data from the byte `start` of the file on.
fn check(raw: RawHeader, start: u64, room: u64) -> Result<Header, String> {
    let mut order = Vec::with_capacity(raw.tensors.len());
    let mut tensors = BTreeMap::new();
    for (name, slot) in raw.tensors {
        let (begin, end) = slot.data_offsets;
        let bad = |what: String| format!("tensor `{}` {what}", shown(&name));
        let dtype = slot
            .dtype()
            .ok_or_else(|| bad(format!("is of the unknown dtype `{}`", shown(&slot.dtype))))?;
        let shape = &slot.shape;
        let bytes = bytes_of(dtype, shape).map_err(|what| bad(what.to_owned()))?;
        if end < begin {
            return Err(bad(format!("ends at byte {end}, before it begins at {begin}")));
        }
        if end > room {
            return Err(bad(format!("ends at byte {end} of {room}: the file is truncated")));
        }
        if end - begin != bytes as u64 {
            let place = end - begin;
            return Err(bad(format!(
                "is {dtype:?} of shape {shape:?}, which is {bytes} bytes, and has {place}"
            )));
        }
        order.push((begin, end, name.clone()));
        tensors.insert(name, Slot { dtype, shape: slot.shape, begin: start + begin, bytes });
    }
    order.sort();
    let mut filled = 0;
    let mut before = None;
    for (begin, end, name) in &order {
        if let (Some(before), true) = (before, *begin < filled) {
            return Err(format!("tensor `{}` overlaps tensor `{}`", shown(name), shown(before)));
        }
        if *begin > filled {
            let hole = begin - filled;
            return Err(format!("has a hole of {hole} bytes before tensor `{}`", shown(name)));
        }
        filled = *end;
        before = Some(name);
    }
    if filled != room {
        return Err(format!("has {} bytes that belong to no tensor", room - filled));
    }
    Ok(Header { tensors, metadata: raw.metadata })
}

/// The bytes of a tensor.
pub(super) fn bytes_of(dtype: Dtype, shape: &[usize]) -> Result<usize, &'static str> {
    let bits = shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size))
        .and_then(|count| count.checked_mul(dtype.bitsize()))
        .ok_or("has more elements than a file can hold")?;
    if bits % 8 != 0 {
        return Err("does not fill whole bytes");
    }
    Ok(bits / 8)
}

/// A name for a message.
fn shown(name: &str) -> String {
    const MOST: usize = 200;
    name.chars().take(MOST).collect::<String>().escape_debug().to_string()
}

/// The JSON as it stands. Its maps are read by hand, for serde's own take the last of two equal keys.
struct RawHeader {
    tensors: BTreeMap<String, RawSlot>,
    metadata: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlot {
    dtype: String,
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
                        de::Error::custom(format_args!("tensor `{}`: {error}", shown(&name)))
                    };
                    let slot = map.next_value::<Object>().map_err(of_tensor)?.0;
                    match header.tensors.entry(name) {
                        Entry::Vacant(place) => drop(place.insert(slot)),
                        Entry::Occupied(place) => {
                            let name = shown(place.key());
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
