//! Writing a file, one tensor at a time.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::metadata::Metadata;
use super::types::TensorType;
use super::value::{Element, Value};
use super::{ALIGNMENT, DEFAULT_ALIGNMENT, DIMENSIONS, KEY_BYTES, MAGIC, NAME_BYTES, VERSION};
use crate::durable::{parent_of, sync_dir};
use crate::error::{Error, counted, printable_name};
use crate::partial;

/// The names of files that are being saved.
const PREFIX: &str = ".gguf-";

/// A tensor that [`save`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, of at most 64 bytes.
    pub name: String,
    /// Its type.
    pub kind: TensorType,
    /// Its shape, with the fastest dimension last.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Describes a tensor.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: TensorType, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), kind, shape: shape.into() }
    }
}

/// Writes a file of version 3, atomically: metadata, and the tensors in this order. `bytes` is called once for each, in turn, so
/// that one tensor at a time is in memory.
///
/// # Errors
///
/// [`Error::Weights`] for names, keys and shapes that a file cannot have and for bytes that are not those of the shape; the error
/// of `bytes`; [`Error::File`].
pub fn save(
    path: impl AsRef<Path>,
    metadata: &Metadata,
    entries: &[Entry],
    mut bytes: impl FnMut(&Entry) -> Result<Vec<u8>, Error>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let layout = layout(metadata, entries).map_err(|reason| Error::weights(path, reason))?;
    let parent = parent_of(path);
    let failed = || Error::file("write", path);
    let mut partial = partial::file(parent, PREFIX).map_err(Error::file("create", path))?;
    {
        let mut writer = BufWriter::with_capacity(1 << 20, partial.as_file_mut());
        writer.write_all(&layout.header).map_err(failed())?;
        for (entry, expected) in entries.iter().zip(layout.bytes) {
            let bytes = bytes(entry)?;
            if bytes.len() != expected {
                let (name, found) = (printable_name(&entry.name), counted(bytes.len(), "byte"));
                let reason = format!("tensor `{name}` has {found}, and its shape needs {expected}");
                return Err(Error::weights(path, reason));
            }
            writer.write_all(&bytes).map_err(failed())?;
            let padding = bytes.len().next_multiple_of(layout.alignment) - bytes.len();
            writer.write_all(&vec![0; padding]).map_err(failed())?;
        }
        writer.flush().map_err(failed())?;
    }
    partial.as_file().sync_all().map_err(failed())?;
    partial.persist(path).map_err(|error| failed()(error.error))?;
    sync_dir(parent).map_err(failed())
}

/// The bytes before the data, and those of each tensor.
struct Layout {
    header: Vec<u8>,
    bytes: Vec<usize>,
    alignment: usize,
}

fn layout(metadata: &Metadata, entries: &[Entry]) -> Result<Layout, String> {
    let alignment = match metadata.get(ALIGNMENT) {
        None => DEFAULT_ALIGNMENT as usize,
        Some(Value::U32(alignment)) if alignment.is_power_of_two() => *alignment as usize,
        Some(_) => return Err(format!("`{ALIGNMENT}` is not a power of 2 of 32 bits")),
    };
    let mut header = MAGIC.to_vec();
    VERSION.write(&mut header);
    (entries.len() as u64).write(&mut header);
    (metadata.len() as u64).write(&mut header);
    for (key, value) in metadata.iter() {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(format!("has a key of {}", counted(key.len(), "byte")));
        }
        key.to_owned().write(&mut header);
        value.write(&mut header);
    }
    let (mut names, mut sizes, mut offset) = (BTreeSet::new(), Vec::new(), 0_usize);
    for Entry { name, kind, shape } in entries {
        let shown = printable_name(name);
        if name.is_empty() || name.len() > NAME_BYTES || !names.insert(name) {
            let bytes = counted(name.len(), "byte");
            return Err(format!("tensor `{shown}` has a name of {bytes}, or is there twice"));
        }
        if shape.len() > DIMENSIONS {
            return Err(format!(
                "tensor `{shown}` of shape {shape:?} has more than {DIMENSIONS} dimensions"
            ));
        }
        let size = kind.bytes_of(shape).map_err(|reason| format!("tensor `{shown}` {reason}"))?;
        name.write(&mut header);
        u32::try_from(shape.len()).unwrap_or_default().write(&mut header);
        shape.iter().rev().for_each(|size| (*size as u64).write(&mut header));
        kind.id().write(&mut header);
        (offset as u64).write(&mut header);
        let end = offset.checked_add(size).and_then(|end| end.checked_next_multiple_of(alignment));
        offset = end.ok_or("is too large to address")?;
        sizes.push(size);
    }
    header.resize(header.len().next_multiple_of(alignment), 0);
    Ok(Layout { header, bytes: sizes, alignment })
}
