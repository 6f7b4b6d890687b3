//! Writing a model in the types of its base.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cog_train_nn::Quantized;

use super::architecture::{Architecture, EMBEDDING, OUTPUT};
use super::conversion::{Conversion, reordered};
use super::tensors::{GgufModel, dtype_of, layout_of};
use crate::error::{Error, printable_name};
use crate::gguf::{self, Entry};
use crate::models::pretrained::Pretrained;
use crate::weights::write_values;

impl GgufModel {
    /// Writes the file again with other values. Each tensor keeps its type, and one that is not given or did not change its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when a tensor is not of this model or has another shape; those of [`gguf::save`].
    pub(crate) fn save(
        &self,
        path: &Path,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<(), Error> {
        check(tensors, |name| self.shape(name))
            .map_err(|reason| Error::model(self.path(), reason))?;
        let given: BTreeMap<&str, &str> =
            self.names.iter().map(|(name, file)| (file.as_str(), name.as_str())).collect();
        let entries: Vec<Entry> = self
            .file
            .names()
            .filter_map(|name| Some((name, self.file.tensor(name)?)))
            .map(|(name, info)| Entry::new(name, info.kind(), info.shape()))
            .collect();
        gguf::save(path, self.file.metadata(), &entries, |entry| {
            // GPT-2's embedding may be there twice.
            let name = given
                .get(entry.name.as_str())
                .or_else(|| given.get(EMBEDDING).filter(|_| entry.name == OUTPUT));
            match name.and_then(|name| Some((*name, tensors.get(*name)?))) {
                Some((name, tensor)) if !self.is_unchanged(name, tensor)? => {
                    encoded(&self.conversion, name, entry, tensor)
                }
                _ => self.file.read(&entry.name),
            }
        })
    }

    fn is_unchanged(&self, name: &str, tensor: &Tensor) -> Result<bool, Error> {
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all();
        let own = wide(&self.get(name, &Device::Cpu)?)?;
        let other = wide(&tensor.to_device(&Device::Cpu)?)?;
        Ok(own.ne(&other)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()? == 0)
    }
}

/// Checks tensors to save against the shapes of a model.
///
/// # Errors
///
/// The reason for which one is refused.
pub(super) fn check<'a>(
    tensors: &BTreeMap<String, Tensor>,
    shape: impl Fn(&str) -> Option<&'a [usize]>,
) -> Result<(), String> {
    for (name, tensor) in tensors {
        let (shown, found) = (printable_name(name), tensor.dims());
        match shape(name) {
            Some(shape) if shape == found => {}
            Some(shape) => {
                return Err(format!(
                    "`{shown}` has the shape {found:?}, and the base has {shape:?}"
                ));
            }
            None => return Err(format!("`{shown}` is not of this model")),
        }
    }
    Ok(())
}

/// Returns the bytes of a tensor in a file.
pub(super) fn encoded(
    conversion: &Conversion,
    name: &str,
    entry: &Entry,
    tensor: &Tensor,
) -> Result<Vec<u8>, Error> {
    let tensor = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let tensor = if conversion.is_offset(name) { (tensor + 1.0)? } else { tensor };
    let bytes = match (dtype_of(entry.kind), layout_of(entry.kind)) {
        (Some(dtype), _) => bytes(&tensor.to_dtype(dtype)?.contiguous()?)
            .map_err(|error| Error::from(candle_core::Error::wrap(error)))?,
        (None, Some(layout)) => Quantized::quantize(&tensor, layout)?.to_bytes()?,
        (None, None) => unreachable!("other types are refused before"),
    };
    let rows = entry.shape.first().copied().unwrap_or(1);
    let order = conversion.rows_to_file(name, rows);
    Ok(order.map_or(bytes.clone(), |order| reordered(&bytes, &order)))
}

/// The bytes of a contiguous tensor on the CPU.
pub(crate) fn bytes(tensor: &Tensor) -> std::io::Result<Vec<u8>> {
    let (storage, layout) = tensor.storage_and_layout();
    let mut bytes = Vec::new();
    if let (candle_core::Storage::Cpu(storage), Some((from, to))) =
        (&*storage, layout.contiguous_offsets())
    {
        write_values(&mut bytes, storage, from..to)?;
    }
    Ok(bytes)
}

impl Pretrained {
    /// Writes the model as a GGUF file, with `tensors` by the names of [`Pretrained::tensors`] in place of the base's.
    ///
    /// If the base is a GGUF file, metadata and tokenizer are its own. A tensor keeps its type: one that changed is quantised again
    /// to it, and one that did not, or is not given, keeps its bytes. If it is a folder, the metadata is made of `config.json`, the
    /// tokenizer's files and the chat template; matrices of 16 bits stay so, and the rest is written in 32.
    ///
    /// ```
    /// use cog_train::candle_core::Device;
    /// use cog_train::models::Pretrained;
    ///
    /// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/gguf/q8_0.gguf");
    /// # let dir = tempfile::tempdir()?;
    /// # let (model, out) = (fixture, dir.path().join("out.gguf"));
    /// let base = Pretrained::open(model)?; // a `.gguf` file
    /// let tensors = base.tensors(&Device::Cpu)?; // and `base.quantized` has those in blocks
    /// let half = (&tensors["model.norm.weight"] * 0.5)?;
    /// base.save_gguf(&out, [("model.norm.weight", half)])?;
    /// # assert_eq!(std::fs::metadata(model)?.len(), std::fs::metadata(&out)?.len());
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when a tensor is not of the model or has another shape, or llama.cpp has no name for the family or no key for
    /// a value of `config.json`; [`Error::Tokenizer`] when the rules of the tokenizer have no name there: each is named.
    /// [`Error::Tensor`] when a value is not finite; those of [`gguf::save`].
    pub fn save_gguf<K: Into<String>>(
        &self,
        file: impl AsRef<Path>,
        tensors: impl IntoIterator<Item = (K, Tensor)>,
    ) -> Result<(), Error> {
        let tensors = tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        match self.source().gguf() {
            Some(model) => model.save(file.as_ref(), &tensors),
            None => self.folder_as_gguf(file.as_ref(), &tensors),
        }
    }

    /// The conversion of this model's tensors to those of llama.cpp.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for a family that llama.cpp has no name for here.
    pub(crate) fn gguf_conversion(&self) -> Result<Conversion, Error> {
        if let Some(model) = self.source().gguf() {
            return Ok(model.conversion());
        }
        let family = self.config().model_type();
        let architecture = Architecture::of_family(family).ok_or_else(|| {
            let reason = format!("`{}` is not supported in GGUF", printable_name(family));
            Error::model(self.folder(), reason)
        })?;
        Ok(Conversion::new(architecture, self.config()))
    }
}
