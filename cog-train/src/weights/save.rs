//! Writing a safetensors file: a header with sorted names, then the data, tensor by tensor.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::header::{TOO_LARGE, bytes_of};
use super::json::METADATA;
use crate::durable::{parent_of, sync_dir};
use crate::error::{Error, printable_name};
use crate::partial;

/// Data begins at a multiple of this, so that a reader that maps the file finds its elements aligned.
const ALIGN: usize = 8;
/// The names of files that are being saved.
const PREFIX: &str = ".weights-";

pub(super) fn save<K: AsRef<str>>(
    tensors: impl IntoIterator<Item = (K, Tensor)>,
    file: &Path,
) -> Result<(), Error> {
    let mut by_name = BTreeMap::new();
    for (name, tensor) in tensors {
        let name = name.as_ref().to_owned();
        if name == METADATA {
            return Err(Error::weights(file, format!("a tensor cannot be called `{name}`")));
        }
        if by_name.contains_key(&name) {
            return Err(Error::weights(
                file,
                format!("tensor `{}` is there twice", printable_name(&name)),
            ));
        }
        by_name.insert(name, tensor);
    }
    let mut order: Vec<(String, Tensor)> = by_name.into_iter().collect();
    order.sort_by_key(|(_, tensor)| dtype_rank(tensor.dtype()));
    let entries = order.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype(), tensor.dims()));
    let header = header(entries).map_err(|reason| Error::weights(file, reason))?;

    let parent = parent_of(file);
    let failed = || Error::file("write", file);
    let mut partial = partial::file(parent, PREFIX).map_err(Error::file("create", file))?;
    {
        let mut writer = BufWriter::with_capacity(1 << 20, partial.as_file_mut());
        writer.write_all(&header).map_err(failed())?;
        for (name, tensor) in &order {
            write_tensor(&mut writer, name, tensor, file)?;
        }
        writer.flush().map_err(failed())?;
    }
    partial.as_file().sync_all().map_err(failed())?;
    partial.persist(file).map_err(|error| failed()(error.error))?;
    sync_dir(parent).map_err(failed())
}

/// Returns the sort key of a tensor among those in order of their names: widest elements first keeps all aligned, and a
/// stable sort leaves the names sorted within a width.
pub(crate) fn dtype_rank(dtype: DType) -> impl Ord {
    std::cmp::Reverse(Dtype::from(dtype).bitsize())
}

/// Returns the bytes before the data: the length and the JSON, of tensors in the order of [`dtype_rank`]. The error is the
/// reason for which these tensors cannot be saved.
pub(crate) fn header<'a>(
    order: impl IntoIterator<Item = (&'a str, DType, &'a [usize])>,
) -> Result<Vec<u8>, String> {
    let mut entries = Map::new();
    entries.insert(METADATA.to_owned(), json!({"format": "pt"}));
    let mut begin = 0_usize;
    for (name, dtype, shape) in order {
        if name == METADATA {
            return Err(format!("a tensor cannot be called `{name}`"));
        }
        // candle keeps these packed, and cannot cut or count them.
        if matches!(dtype, DType::F6E2M3 | DType::F6E3M2 | DType::F4) {
            let name = printable_name(name);
            return Err(format!("tensor `{name}` is of dtype {dtype:?}, which cannot be saved"));
        }
        let dtype = Dtype::from(dtype);
        let end = bytes_of(dtype, shape)
            .and_then(|bytes| begin.checked_add(bytes).ok_or_else(|| TOO_LARGE.to_owned()))
            .map_err(|reason| format!("tensor `{}` {reason}", printable_name(name)))?;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
        entries.insert(name.to_owned(), entry);
        begin = end;
    }
    let text = Value::Object(entries).to_string();
    let length = text.len().next_multiple_of(ALIGN);
    let mut bytes = (length as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(size_of::<u64>() + length, b' ');
    Ok(bytes)
}

fn write_tensor(
    writer: &mut impl Write,
    name: &str,
    tensor: &Tensor,
    file: &Path,
) -> Result<(), Error> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((from, to))) = (&*storage, layout.contiguous_offsets()) else {
        let name = printable_name(name);
        return Err(Error::weights(file, format!("tensor `{name}` cannot be moved to the CPU")));
    };
    write_values(writer, storage, from..to).map_err(Error::file("write", file))
}

/// Writes the elements of a range as they stand in a safetensors file.
pub(crate) fn write_values(
    writer: &mut impl Write,
    storage: &CpuStorage,
    range: Range<usize>,
) -> std::io::Result<()> {
    match storage {
        CpuStorage::U8(values) | CpuStorage::F8E8M0(values) => writer.write_all(&values[range]),
        CpuStorage::U32(values) => little_endian(writer, &values[range], u32::to_le_bytes),
        CpuStorage::I16(values) => little_endian(writer, &values[range], i16::to_le_bytes),
        CpuStorage::I32(values) => little_endian(writer, &values[range], i32::to_le_bytes),
        CpuStorage::I64(values) => little_endian(writer, &values[range], i64::to_le_bytes),
        CpuStorage::BF16(values) => {
            little_endian(writer, &values[range], |v| v.to_bits().to_le_bytes())
        }
        CpuStorage::F16(values) => {
            little_endian(writer, &values[range], |v| v.to_bits().to_le_bytes())
        }
        CpuStorage::F32(values) => little_endian(writer, &values[range], f32::to_le_bytes),
        CpuStorage::F64(values) => little_endian(writer, &values[range], f64::to_le_bytes),
        CpuStorage::F8E4M3(values) => little_endian(writer, &values[range], |v| [v.to_bits()]),
        // `header` has refused them.
        CpuStorage::F6E2M3(_) | CpuStorage::F6E3M2(_) | CpuStorage::F4(_) => {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }
}

/// Writes values in the file's byte order, in chunks that compile to plain copies.
fn little_endian<T: Copy, const N: usize>(
    writer: &mut impl Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<()> {
    const CHUNK: usize = 1 << 14;
    let mut buffer = vec![0_u8; CHUNK * N];
    for chunk in values.chunks(CHUNK) {
        let (used, _) = buffer.split_at_mut(chunk.len() * N);
        for (target, &value) in used.chunks_exact_mut(N).zip(chunk) {
            target.copy_from_slice(&bytes(value));
        }
        writer.write_all(used)?;
    }
    Ok(())
}
