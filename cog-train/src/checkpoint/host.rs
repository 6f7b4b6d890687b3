//! A copy of the tensors in memory of its own.
//!
//! A step writes the parameters in place, and a clone of a candle tensor shares its storage: what a thread is to write
//! meanwhile has to be a copy. That copy is all that the training waits for, so its memory is used again. Where an
//! update writes into that memory instead of in place, the copy costs no more than the update: the numbers before it are
//! left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use rayon::prelude::*;
use serde_json::Value;

use super::reserve::Reserve;
use super::save::Snapshot;
use crate::error::Error;
use cog_train_nn::__private::host;
use cog_train_nn::__private::spare::Spares;

/// A snapshot whose tensors nobody else writes to.
pub(super) struct Host {
    pub(super) step: u64,
    pub(super) best: bool,
    pub(super) state: Value,
    pub(super) files: BTreeMap<String, BTreeMap<String, HostTensor>>,
}

/// A tensor, contiguous, with the elements of nothing else.
pub(super) struct HostTensor {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) values: CpuStorage,
}

/// A snapshot some of whose tensors are not copied yet. They may change only by fused updates while their
/// [spares](Self::spares) are lent.
pub(super) struct Lent {
    host: Host,
    /// What is not copied yet: file, name, tensor.
    left: Vec<(String, String, Tensor)>,
    spares: Spares,
    /// Whether all tensors are this machine's, so that its processors are what computes.
    pub(super) computes_here: bool,
}

impl Lent {
    /// Copies of a snapshot what no update could leave behind; memory for the copies is taken from `reserve` where it fits.
    pub(super) fn new(snapshot: Snapshot, mut reserve: Reserve) -> Result<Self, Error> {
        let Snapshot { step, state, best, files } = snapshot;
        let (mut spares, mut left, mut others) = (Spares::default(), Vec::new(), Vec::new());
        let mut host = Host { step, best, state, files: BTreeMap::new() };
        let mut computes_here = true;
        for (file, tensors) in files {
            let mut reserve = reserve.remove(&file).unwrap_or_default();
            for (name, tensor) in tensors {
                computes_here &= tensor.device().is_cpu();
                let memory = reserve.remove(&name);
                if spares.can_exchange(&tensor) {
                    spares.offer(&tensor, memory);
                    left.push((file.clone(), name, tensor));
                } else {
                    others.push((file.clone(), name, tensor, memory));
                }
            }
            host.files.insert(file, BTreeMap::new());
        }
        drop(reserve); // nothing takes up the rest
        let copied = others
            .into_par_iter()
            .map(|(file, name, tensor, memory)| {
                Ok((file, name, HostTensor::copy(&tensor, memory)?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for (file, name, tensor) in copied {
            host.insert(file, name, tensor);
        }
        Ok(Self { host, left, spares, computes_here })
    }

    /// The step of the snapshot.
    pub(super) fn step(&self) -> u64 {
        self.host.step
    }

    /// Whether nothing is left to copy.
    pub(super) fn is_copied(&self) -> bool {
        self.left.is_empty()
    }

    /// The memory for tensors that change while a snapshot of them is lent.
    pub(super) fn spares(&mut self) -> &mut Spares {
        &mut self.spares
    }

    /// Copies what has not changed. `None` where a change was not brought to its end, so that its numbers are lost.
    pub(super) fn copied(self) -> Option<Host> {
        let Self { mut host, left, spares, .. } = self;
        let tensors: Vec<&Tensor> = left.iter().map(|(_, _, tensor)| tensor).collect();
        let numbers = spares.into_numbers(&tensors)?;
        for ((file, name, tensor), numbers) in left.into_iter().zip(numbers) {
            let (dtype, shape) = (tensor.dtype(), tensor.dims().to_vec());
            host.insert(file, name, HostTensor { dtype, shape, values: CpuStorage::F32(numbers) });
        }
        Some(host)
    }
}

impl Host {
    /// What writing it is likely to take one processor, if nothing is known of the machine.
    pub(super) fn likely_work(&self) -> Duration {
        /// One core wrote, digested and read back so many bytes in a second.
        const BYTES: f64 = 580e6;
        let bytes = |tensor: &HostTensor| {
            tensor.shape.iter().product::<usize>() * tensor.dtype.size_in_bytes()
        };
        let all: usize = self.files.values().flat_map(BTreeMap::values).map(bytes).sum();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Duration::from_secs_f64(all as f64 / BYTES)
    }

    fn insert(&mut self, file: String, name: String, tensor: HostTensor) {
        self.files.entry(file).or_default().insert(name, tensor);
    }

    /// Its memory, for the next copy.
    pub(super) fn into_reserve(self) -> Reserve {
        let tensors = |tensors: BTreeMap<String, HostTensor>| {
            tensors.into_iter().map(|(name, tensor)| (name, tensor.values)).collect()
        };
        self.files.into_iter().map(|(file, its)| (file, tensors(its))).collect()
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
                return Err(Error::InvalidConfig {
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
    host::copy(&mut into, values);
    into
}
