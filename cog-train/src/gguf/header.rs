//! The header of a file, checked as untrusted input: counts, the metadata, then each tensor's name, shape, type and offset.
//!
//! A reader may rely on what passes here: names and keys are there once, each tensor has the bytes of its shape within the file,
//! and no two overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::metadata::Metadata;
use super::source::Source;
use super::tensor::TensorInfo;
use super::types::TensorType;
use super::value::{Element, Value};
use super::{ALIGNMENT, DEFAULT_ALIGNMENT, DIMENSIONS, KEY_BYTES, MAGIC, NAME_BYTES, VERSION};
use crate::error::{counted, printable_name};

/// The most bytes of a header; those of models with large vocabularies have some ten million.
const HEADER_BYTES: u64 = 1 << 30;
/// The fewest bytes of a key with its value.
const ENTRY_BYTES: u64 = 8 + 4 + 1;
/// The fewest bytes of a tensor's entry.
const TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    /// The names, in the order of the file.
    pub(super) order: Vec<String>,
}

/// Reads the header of a file of `size` bytes.
///
/// # Errors
///
/// The reason for which the file is refused.
pub(super) fn read(inner: impl Read, size: u64) -> Result<Header, String> {
    let mut source = Source::new(inner, size.min(HEADER_BYTES));
    let found: [u8; 4] = source.array().map_err(|_| not_gguf(&[]))?;
    if found != *MAGIC {
        return Err(not_gguf(&found));
    }
    check_version(u32::read(&mut source)?)?;
    let tensors = count(&mut source, "tensor", TENSOR_BYTES)?;
    let values = count(&mut source, "metadata value", ENTRY_BYTES)?;
    let metadata = metadata(&mut source, values)?;
    let alignment = alignment(&metadata)?;
    let mut entries = BTreeMap::new();
    let mut order = Vec::new();
    for _ in 0..tensors {
        let (name, info) = tensor(&mut source, alignment)?;
        if entries.insert(name.clone(), info).is_some() {
            return Err(format!("tensor `{}` is there twice", printable_name(&name)));
        }
        order.push(name);
    }
    let start = source.position().checked_next_multiple_of(alignment);
    let start = start.ok_or_else(|| format!("`{ALIGNMENT}` is {alignment}, which is too large"))?;
    for (name, info) in &mut entries {
        place(info, start, size)
            .map_err(|reason| format!("tensor `{}` {reason}", printable_name(name)))?;
    }
    check_overlaps(&entries)?;
    Ok(Header { metadata, tensors: entries, order })
}

fn not_gguf(found: &[u8]) -> String {
    if found.is_empty() {
        return "is not a GGUF file: it has fewer than 4 bytes".to_owned();
    }
    let found = printable_name(&String::from_utf8_lossy(found));
    format!("is not a GGUF file: it begins with `{found}`, not `GGUF`")
}

fn check_version(version: u32) -> Result<(), String> {
    match version {
        2 | VERSION => Ok(()),
        1 => Err("is of GGUF's version 1, and 2 and 3 are supported\nhint: convert the model again with llama.cpp"
            .to_owned()),
        _ if version.swap_bytes() <= VERSION => Err(
            "is a big-endian file, and only little-endian ones are supported\nhint: `gguf-convert-endian FILE little` of the \
             Python package `gguf` converts it"
                .to_owned(),
        ),
        other => Err(format!("is of GGUF's version {other}, and 2 and 3 are supported")),
    }
}

/// Reads the number of items of at least `fewest` bytes each.
fn count(source: &mut Source<impl Read>, item: &str, fewest: u64) -> Result<u64, String> {
    let count = u64::read(source)?;
    if count > source.left() / fewest {
        let left = counted(source.left(), "byte");
        return Err(format!("is truncated: it has {} in {left}", counted(count, item)));
    }
    Ok(count)
}

fn metadata(source: &mut Source<impl Read>, count: u64) -> Result<Metadata, String> {
    let mut metadata = Metadata::new();
    let mut keys = BTreeSet::new();
    for _ in 0..count {
        let key = source.string()?;
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(format!("has a key of {}", counted(key.len(), "byte")));
        }
        let shown = printable_name(&key);
        let value = Value::read(source).map_err(|reason| format!("`{shown}` {reason}"))?;
        if !keys.insert(key.clone()) {
            return Err(format!("`{shown}` is there twice"));
        }
        metadata.push(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata) -> Result<u64, String> {
    match metadata.get(ALIGNMENT) {
        None => Ok(DEFAULT_ALIGNMENT.into()),
        Some(Value::U32(alignment)) if alignment.is_power_of_two() => Ok((*alignment).into()),
        Some(Value::U32(other)) => Err(format!("`{ALIGNMENT}` is {other}, not a power of 2")),
        Some(_) => Err(format!("`{ALIGNMENT}` is not a whole number of 32 bits")),
    }
}

/// Reads a tensor's entry, whose offset is relative to the data.
fn tensor(source: &mut Source<impl Read>, alignment: u64) -> Result<(String, TensorInfo), String> {
    let name = source.string()?;
    let shown = printable_name(&name);
    if name.is_empty() || name.len() > NAME_BYTES {
        let bytes = counted(name.len(), "byte");
        return Err(format!("tensor `{shown}` has a name of {bytes}, not of 1 to {NAME_BYTES}"));
    }
    let failed = |reason: String| format!("tensor `{shown}` {reason}");
    let dimensions = u32::read(source)? as usize;
    if dimensions > DIMENSIONS {
        return Err(failed(format!(
            "has {dimensions} dimensions, and at most {DIMENSIONS} are possible"
        )));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = u64::read(source)?;
        let size = usize::try_from(size);
        shape.push(size.map_err(|_| failed("has a dimension that is too large".to_owned()))?);
    }
    // The file has the fastest dimension first.
    shape.reverse();
    let id = u32::read(source)?;
    let kind = TensorType::of_id(id);
    let kind = kind.ok_or_else(|| failed(format!("is of the unknown type {id}")))?;
    let bytes = kind.bytes_of(&shape).map_err(failed)?;
    let begin = u64::read(source)?;
    if !begin.is_multiple_of(alignment) {
        let reason =
            format!("begins at byte {begin} of the data, not at a multiple of {alignment}");
        return Err(format!("tensor `{shown}` {reason}"));
    }
    Ok((name, TensorInfo { kind, shape, begin, bytes }))
}

/// Makes the offset one from the start of the file, and compares the end with the file's.
fn place(info: &mut TensorInfo, start: u64, size: u64) -> Result<(), String> {
    let begin = start.checked_add(info.begin);
    let end = begin.and_then(|begin| begin.checked_add(info.bytes as u64));
    match (begin, end) {
        (Some(begin), Some(end)) if end <= size => info.begin = begin,
        (_, end) => {
            let end = end.map_or_else(|| "2^64".to_owned(), |end| end.to_string());
            return Err(format!("ends at byte {end} of {size}: the file is truncated"));
        }
    }
    Ok(())
}

fn check_overlaps(tensors: &BTreeMap<String, TensorInfo>) -> Result<(), String> {
    let mut order: Vec<_> = tensors.iter().filter(|(_, info)| info.bytes > 0).collect();
    order.sort_by_key(|(_, info)| info.begin);
    for pair in order.windows(2) {
        if let [(before, first), (name, second)] = pair
            && second.begin < first.begin + first.bytes as u64
        {
            let (name, before) = (printable_name(name), printable_name(before));
            return Err(format!("tensor `{name}` overlaps tensor `{before}`"));
        }
    }
    Ok(())
}
