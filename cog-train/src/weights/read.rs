//! Reading tensors from open files.
//!
//! The files are read, not mapped. A read copies once, as fresh storage must; a file that someone cuts short meanwhile
//! is an error and not a SIGBUS; and no `unsafe` has to promise that nobody writes to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use half::vec::HalfBitsVecExt as _;
use safetensors::Dtype;

use super::header::Slot;
use crate::error::{Error, printable_name};
use crate::read;

/// The similarity from which a name is suggested: 1 is equal.
const SIMILAR: f64 = 0.8;

/// Open files and the tensors in them.
pub(super) struct Opened {
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, (usize, Slot)>,
}

impl Opened {
    pub(super) fn new() -> Self {
        Self { files: Vec::new(), tensors: BTreeMap::new() }
    }

    /// Adds a file. A name that another file has is an error.
    pub(super) fn add(
        &mut self,
        path: &Path,
        handle: File,
        tensors: BTreeMap<String, Slot>,
    ) -> Result<(), Error> {
        let number = self.files.len();
        self.files.push((path.to_owned(), handle));
        for (name, slot) in tensors {
            match self.tensors.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert((number, slot))),
                Entry::Occupied(entry) => {
                    let other = &self.files[entry.get().0].0;
                    let other = other.file_name().unwrap_or_default().to_string_lossy();
                    let (name, other) = (printable_name(entry.key()), printable_name(&other));
                    return Err(Error::weights(
                        path,
                        format!("tensor `{name}` is also in `{other}`"),
                    ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensors whose dtype candle lacks.
    pub(super) fn unsupported(&self) -> impl Iterator<Item = (&str, Dtype)> {
        let tensors = self.tensors.iter().map(|(name, (_, slot))| (name.as_str(), slot.dtype));
        tensors.filter(|(_, dtype)| DType::try_from(*dtype).is_err())
    }

    pub(super) fn get(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let (number, slot) = self.tensors.get(name).ok_or_else(|| self.no_such(name))?;
        let (path, handle) = &self.files[*number];
        let dtype = DType::try_from(slot.dtype).map_err(|_| {
            Error::weights(
                path,
                format!(
                    "tensor `{}` is of dtype {}, which candle does not have",
                    printable_name(name),
                    slot.dtype
                ),
            )
        })?;
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let name = printable_name(name);
                Error::weights(
                    path,
                    format!("the file became shorter: tensor `{name}` is not there any more"),
                )
            }
            _ => Error::file("read", path)(error),
        };
        let shape = slot.shape.as_slice();
        // Read into the tensor's own storage, without a copy in between.
        if dtype == DType::F32 && cfg!(target_endian = "little") {
            let mut values = vec![0_f32; slot.bytes / size_of::<f32>()];
            read::exact_at(handle, bytemuck::cast_slice_mut(&mut values), slot.begin)
                .map_err(failed)?;
            return Ok(Tensor::from_vec(values, shape, device)?);
        }
        if matches!(dtype, DType::BF16 | DType::F16) && cfg!(target_endian = "little") {
            let mut words = vec![0_u16; slot.bytes / size_of::<u16>()];
            read::exact_at(handle, bytemuck::cast_slice_mut(&mut words), slot.begin)
                .map_err(failed)?;
            return Ok(match dtype {
                DType::BF16 => {
                    Tensor::from_vec(words.reinterpret_into::<half::bf16>(), shape, device)?
                }
                _ => Tensor::from_vec(words.reinterpret_into::<half::f16>(), shape, device)?,
            });
        }
        let mut bytes = vec![0; slot.bytes];
        read::exact_at(handle, &mut bytes, slot.begin).map_err(failed)?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, shape, device)?)
    }

    /// The dtype and the shape of a tensor.
    pub(super) fn describe(&self, name: &str) -> Option<(Dtype, &[usize])> {
        self.tensors.get(name).map(|(_, slot)| (slot.dtype, slot.shape.as_slice()))
    }

    fn no_such(&self, name: &str) -> Error {
        let nearest = self
            .names()
            .map(|other| (strsim::jaro_winkler(name, other), other))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity >= SIMILAR);
        let hint = nearest.map_or_else(String::new, |(_, other)| {
            format!("\nhint: did you mean `{}`?", printable_name(other))
        });
        let location = match &self.files[..] {
            [(file, _)] => file.as_path(),
            files => files.first().and_then(|(file, _)| file.parent()).unwrap_or(Path::new("")),
        };
        let name = printable_name(name);
        Error::weights(location, format!("no tensor `{name}` among {}{hint}", self.tensors.len()))
    }
}

/// The source of a `VarBuilder`.
pub(super) struct Backend(pub(super) std::sync::Arc<Opened>);

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _init: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            return Err(candle_core::Error::UnexpectedShape {
                msg: format!("shape mismatch for {}", printable_name(name)),
                expected: shape,
                got: tensor.shape().clone(),
            });
        }
        Ok(tensor)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        match self.0.get(name, device) {
            Ok(tensor) => tensor.to_dtype(dtype),
            Err(Error::Tensor(error)) => Err(error),
            Err(error) => Err(candle_core::Error::msg(error)),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}
