//! A copy of the tensors in memory of its own.
//!
//! The next step writes the parameters in place, and a clone of a candle tensor shares its storage: what a thread is
//! to write meanwhile has to be a copy. That copy is all that the training waits for, so its memory is used again.

use std::collections::BTreeMap;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use rayon::prelude::*;
use serde_json::Value;

use super::save::Snapshot;
use crate::error::Error;

/// How many elements one thread copies at a time: large enough to pay for the hand-over, small enough to share out.
const PIECE: usize = 1 << 18;

/// A snapshot whose tensors nobody else writes to.
pub(super) struct Host {
    pub(super) step: u64,
    pub(super) best: bool,
    pub(super) state: Value,
    /// Whether all tensors are this machine's, so that its processors are what computes.
    pub(super) computes_here: bool,
    pub(super) files: BTreeMap<String, BTreeMap<String, HostTensor>>,
}

/// A tensor, contiguous, with the elements of nothing else.
pub(super) struct HostTensor {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) values: CpuStorage,
}

impl Host {
    /// Copies a snapshot, into the memory of an earlier one where that fits.
    pub(super) fn copy(snapshot: Snapshot, mut spare: Option<Self>) -> Result<Self, Error> {
        let mut jobs = Vec::new();
        for (file, tensors) in &snapshot.files {
            let mut old = spare.as_mut().and_then(|spare| spare.files.remove(file));
            for (name, tensor) in tensors {
                let old = old.as_mut().and_then(|old| old.remove(name));
                jobs.push((file, name, tensor, old.map(|old| old.values)));
            }
        }
        let computes_here = jobs.iter().all(|(_, _, tensor, _)| tensor.device().is_cpu());
        // What nothing takes up is given back before more is taken.
        drop(spare);
        let copied = jobs
            .into_par_iter()
            .map(|(file, name, tensor, old)| Ok((file, name, HostTensor::copy(tensor, old)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut files: BTreeMap<String, BTreeMap<String, HostTensor>> =
            snapshot.files.keys().map(|file| (file.clone(), BTreeMap::new())).collect();
        for (file, name, tensor) in copied {
            files.entry(file.clone()).or_default().insert(name.clone(), tensor);
        }
        let Snapshot { step, state, best, .. } = snapshot;
        Ok(Self { step, best, state, computes_here, files })
    }
}

impl HostTensor {
    fn copy(tensor: &Tensor, old: Option<CpuStorage>) -> Result<Self, Error> {
        let (dtype, shape) = (tensor.dtype(), tensor.dims().to_vec());
        let tensor = tensor.contiguous()?;
        let (storage, layout) = tensor.storage_and_layout();
        let (from, to) = (layout.start_offset(), layout.start_offset() + tensor.elem_count());
        let values = match &*storage {
            Storage::Cpu(values) => copy(values, from, to, old)?,
            Storage::Cuda(values) => cut(values.to_cpu_storage()?, from, to)?,
            Storage::Metal(values) => cut(values.to_cpu_storage()?, from, to)?,
        };
        Ok(Self { dtype, shape, values })
    }
}

/// One expression over all types that candle can count in elements.
macro_rules! each {
    ($storage:expr, $old:expr, $values:ident, $into:ident => $body:expr, $($kind:ident)*) => {
        match $storage {
            $(CpuStorage::$kind($values) => {
                let $into = match $old {
                    Some(CpuStorage::$kind(old)) => old,
                    _ => Vec::new(),
                };
                CpuStorage::$kind($body)
            })*
            CpuStorage::F6E2M3(_) | CpuStorage::F6E3M2(_) | CpuStorage::F4(_) => {
                let dtype = $storage.dtype();
                return Err(Error::Plan {
                    reason: format!("a tensor of dtype {dtype:?} cannot be put into a checkpoint"),
                });
            }
        }
    };
}

fn copy(
    storage: &CpuStorage,
    from: usize,
    to: usize,
    old: Option<CpuStorage>,
) -> Result<CpuStorage, Error> {
    Ok(each!(storage, old, values, into => copied(&values[from..to], into),
        U8 U32 I16 I32 I64 BF16 F16 F32 F64 F8E4M3 F8E8M0))
}

/// What has come from another device is a copy; only a part of it has to be taken out.
fn cut(storage: CpuStorage, from: usize, to: usize) -> Result<CpuStorage, Error> {
    let same = from == 0 && elements(&storage) == Some(to);
    if same { Ok(storage) } else { copy(&storage, from, to, None) }
}

fn elements(storage: &CpuStorage) -> Option<usize> {
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
    into.par_chunks_mut(PIECE)
        .zip(values.par_chunks(PIECE))
        .for_each(|(into, values)| into.copy_from_slice(values));
    into
}
