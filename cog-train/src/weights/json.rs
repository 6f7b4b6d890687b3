//! The JSON of a safetensors header, parsed without trust: no key twice, no unknown key, no endless shape.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use safetensors::Dtype;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::printable_name;

/// The most dimensions of a tensor, as in PyTorch.
const MAX_DIMS: usize = 64;
/// The header's entry that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// The JSON before the checks. Its maps are read by hand, for serde's own take the last of two equal keys.
pub(super) struct RawHeader {
    pub(super) tensors: BTreeMap<String, RawSlot>,
    pub(super) metadata: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSlot {
    pub(super) dtype: String,
    #[serde(deserialize_with = "shape")]
    pub(super) shape: Vec<usize>,
    pub(super) data_offsets: (u64, u64),
}

impl RawSlot {
    pub(super) fn dtype(&self) -> Option<Dtype> {
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
                        Entry::Vacant(entry) => drop(entry.insert(slot)),
                        Entry::Occupied(entry) => {
                            let name = printable_name(entry.key());
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
