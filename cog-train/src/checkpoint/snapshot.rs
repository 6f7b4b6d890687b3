//! Snapshots of a training, and their copies in host memory.
//!
//! A step updates the parameters in place, and a clone of a candle tensor shares its storage: the writer thread needs a
//! copy. The training waits for that copy, so its memory is reused: the tensors and their copy are a double buffer.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use serde_json::Value;

use crate::error::Error;
use cog_train_nn::__private::host;

/// The content of a checkpoint.
///
/// The example of [`Checkpoints`](super::Checkpoints) saves one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The step, which names the checkpoint.
    pub step: u64,
    /// The state that is no tensor. Its numbers are restored bit for bit; the order of an object's keys is not.
    pub state: Value,
    /// The tensors by name, by the file that holds them: `weights`, `optimizer`, `ema`. Any shape, any device, any dtype
    /// that safetensors has.
    pub files: BTreeMap<String, BTreeMap<String, Tensor>>,
    /// Whether this is the best so far by evaluation, which [`Keep::best`](super::Keep::best) keeps.
    pub best: bool,
}

/// The memory of a copy by file and tensor, with arbitrary values.
pub(super) type Buffer = BTreeMap<String, BTreeMap<String, CpuStorage>>;

/// A copy of a snapshot in host memory.
pub(super) struct HostSnapshot {
    pub(super) step: u64,
    pub(super) best: bool,
    pub(super) state: Value,
    pub(super) files: BTreeMap<String, BTreeMap<String, HostTensor>>,
    /// Memory for the tensors that are still to come.
    buffer: Buffer,
}

/// A contiguous copy of a tensor, with no other elements in its storage.
pub(super) struct HostTensor {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) values: CpuStorage,
}

/// The content of a checkpoint beside its tensors.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) step: u64,
    pub(crate) state: Value,
    pub(crate) best: bool,
    /// The names of its files.
    pub(crate) files: Vec<String>,
}

/// Receives the tensors of a checkpoint one by one: file, name, and the tensor, which is copied.
pub(crate) type AddTensor<'a> = dyn FnMut(&str, &str, &Tensor) -> Result<(), Error> + 'a;

impl HostSnapshot {
    /// A snapshot without tensors. Takes memory for them from `buffer` where it fits, and allocates the rest.
    pub(super) fn new(header: Header, buffer: Buffer) -> Self {
        let Header { step, state, best, files } = header;
        let files = files.into_iter().map(|file| (file, BTreeMap::new())).collect();
        Self { step, best, state, files, buffer }
    }

    /// Adds a copy of a tensor.
    pub(super) fn add(&mut self, file: &str, name: &str, tensor: &Tensor) -> Result<(), Error> {
        let buffer = self.buffer.get_mut(file).and_then(|buffer| buffer.remove(name));
        let copy = HostTensor::copy(tensor, buffer)?;
        self.files.entry(file.to_owned()).or_default().insert(name.to_owned(), copy);
        Ok(())
    }

    /// Frees the memory that no tensor took.
    pub(super) fn complete(&mut self) {
        self.buffer.clear();
    }

    /// Returns its memory for the next copy.
    pub(super) fn into_buffer(self) -> Buffer {
        let values = |tensors: BTreeMap<String, HostTensor>| {
            tensors.into_iter().map(|(name, tensor)| (name, tensor.values)).collect()
        };
        self.files.into_iter().map(|(file, tensors)| (file, values(tensors))).collect()
    }
}

impl HostTensor {
    fn copy(tensor: &Tensor, buffer: Option<CpuStorage>) -> Result<Self, Error> {
        let (dtype, shape) = (tensor.dtype(), tensor.dims().to_vec());
        let tensor = tensor.contiguous()?;
        let (storage, layout) = tensor.storage_and_layout();
        let (start, end) = (layout.start_offset(), layout.start_offset() + tensor.elem_count());
        let values = match &*storage {
            Storage::Cpu(values) => copy(values, start..end, buffer)?,
            Storage::Cuda(values) => cut(values.to_cpu_storage()?, start..end)?,
            Storage::Metal(values) => cut(values.to_cpu_storage()?, start..end)?,
        };
        Ok(Self { dtype, shape, values })
    }
}

/// Evaluates one expression for each dtype whose elements candle can count.
macro_rules! each {
    ($storage:expr, $buffer:expr, $values:ident, $into:ident => $body:expr, $($kind:ident)*) => {
        match $storage {
            $(CpuStorage::$kind($values) => {
                let $into = match $buffer {
                    Some(CpuStorage::$kind(buffer)) => buffer,
                    _ => Vec::new(),
                };
                CpuStorage::$kind($body)
            })*
            CpuStorage::F6E2M3(_) | CpuStorage::F6E3M2(_) | CpuStorage::F4(_) => {
                let dtype = $storage.dtype();
                return Err(Error::InvalidConfig {
                    reason: format!("a tensor of dtype {dtype:?} cannot be put into a checkpoint"),
                });
            }
        }
    };
}

fn copy(
    storage: &CpuStorage,
    range: Range<usize>,
    buffer: Option<CpuStorage>,
) -> Result<CpuStorage, Error> {
    Ok(each!(storage, buffer, values, into => copied(&values[range], into),
        U8 U32 I16 I32 I64 BF16 F16 F32 F64 F8E4M3 F8E8M0))
}

/// Takes a range out of a storage that is a copy already.
fn cut(storage: CpuStorage, range: Range<usize>) -> Result<CpuStorage, Error> {
    let is_all = range.start == 0 && element_count(&storage) == Some(range.end);
    if is_all { Ok(storage) } else { copy(&storage, range, None) }
}

fn element_count(storage: &CpuStorage) -> Option<usize> {
    Some(match storage {
        CpuStorage::U8(values) | CpuStorage::F8E8M0(values) => values.len(),
        CpuStorage::U32(values) => values.len(),
        CpuStorage::I16(values) => values.len(),
        CpuStorage::I32(values) => values.len(),
        CpuStorage::I64(values) => values.len(),
        CpuStorage::BF16(values) => values.len(),
        CpuStorage::F16(values) => values.len(),
        CpuStorage::F32(values) => values.len(),
        CpuStorage::F64(values) => values.len(),
        CpuStorage::F8E4M3(values) => values.len(),
        CpuStorage::F6E2M3(_) | CpuStorage::F6E3M2(_) | CpuStorage::F4(_) => return None,
    })
}

fn copied<T: Copy + Default + Send + Sync>(values: &[T], mut into: Vec<T>) -> Vec<T> {
    if into.len() != values.len() {
        into = vec![T::default(); values.len()];
    }
    host::copy(&mut into, values);
    into
}
