//! The tensors of a model in a GGUF file.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cog_train_nn::{BlockLayout, Quantized};
use serde_json::{Map, Value};

use super::architecture::{Architecture, EMBEDDING, OUTPUT};
use super::config::{self, Contents, FACTORS};
use super::conversion::{Conversion, reordered};
use crate::error::{Error, printable_name};
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::models::config::Config;
use crate::models::keys::list;

/// The types of tensors that are supported.
const SUPPORTED: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K";

/// A language model in a GGUF file. Its tensors have the names, shapes and values that they have in transformers.
#[derive(Debug, Clone)]
pub(crate) struct GgufModel {
    pub(super) file: Gguf,
    pub(super) conversion: Conversion,
    /// The type of the tensors that are not quantised.
    dtype: DType,
    /// The names in the file, by those in transformers.
    pub(super) names: BTreeMap<String, String>,
    /// The `config.json` of transformers.
    json: Map<String, Value>,
}

impl GgufModel {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Those of [`Gguf::open`]; [`Error::Model`] for an architecture, a key or a type that is not supported.
    pub(crate) fn open(path: &Path) -> Result<(Self, Config), Error> {
        let file = Gguf::open(path)?;
        let refused = |reason: String| Error::model(path, reason);
        let text = |key: &str| file.metadata().get(key).and_then(|value| value.as_str());
        if let Some(kind) = text("general.type").filter(|kind| *kind != "model") {
            let kind = printable_name(kind);
            return Err(refused(format!("holds no model: its `general.type` is `{kind}`")));
        }
        let name = text("general.architecture")
            .ok_or_else(|| refused("`general.architecture` is missing".to_owned()))?;
        let architecture = Architecture::named(name).map_err(refused)?;
        let tensors = || file.tensors().iter().filter(|(name, _)| !is_configuration(name));
        let unsupported: Vec<String> = tensors()
            .filter(|(_, info)| dtype_of(info.kind()).is_none() && layout_of(info.kind()).is_none())
            .map(|(name, info)| format!("`{}` is of type {}", printable_name(name), info.kind()))
            .collect();
        match unsupported.as_slice() {
            [] => {}
            [one] => return Err(refused(format!("{one}\nhint: supported are {SUPPORTED}"))),
            all => return Err(refused(format!("{}\nhint: supported are {SUPPORTED}", list(all)))),
        }
        let (dtype, shown) = main_dtype(tensors().map(|(_, info)| info));
        let json = config::config(&Contents::of(&file), architecture, shown)?;
        let config = Config::of_json(json.clone(), path)?;
        let shared = shared_output(&file, architecture)?;
        let names = tensors()
            .filter(|(name, _)| !(shared && *name == OUTPUT))
            .map(|(name, _)| {
                (architecture.to_model(name).unwrap_or_else(|| name.clone()), name.clone())
            })
            .collect();
        let conversion = Conversion::new(architecture, &config);
        Ok((Self { file, conversion, dtype, names, json }, config))
    }

    /// The file.
    pub(crate) fn file(&self) -> &Gguf {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    pub(crate) fn conversion(&self) -> Conversion {
        self.conversion
    }

    /// The names in transformers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    fn info(&self, name: &str) -> Option<(&str, &TensorInfo)> {
        let file = self.names.get(name)?;
        Some((file, self.file.tensor(file)?))
    }

    /// The shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(self.info(name)?.1.shape())
    }

    /// Whether a tensor is in blocks.
    pub(crate) fn is_quantized(&self, name: &str) -> bool {
        self.info(name).is_some_and(|(_, info)| layout_of(info.kind()).is_some())
    }

    /// Reads the bytes of a tensor, with its rows as in transformers.
    fn bytes(&self, name: &str) -> Result<(&TensorInfo, Vec<u8>), Error> {
        let (file, info) = self.info(name).ok_or_else(|| {
            let reason = format!("`{}` is missing", printable_name(name));
            Error::model(self.path(), reason)
        })?;
        let bytes = self.file.read(file)?;
        let rows = info.shape().first().copied().unwrap_or(1);
        Ok(match self.conversion.rows_to_model(name, rows) {
            Some(order) => (info, reordered(&bytes, &order)),
            None => (info, bytes),
        })
    }

    /// Reads a tensor as floats, from blocks too.
    pub(crate) fn get(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let (info, bytes) = self.bytes(name)?;
        let tensor = match (dtype_of(info.kind()), layout_of(info.kind())) {
            (Some(dtype), _) => Tensor::from_raw_buffer(&bytes, dtype, info.shape(), device)?,
            (None, Some(layout)) => blocks(layout, info.shape(), bytes, device)?.dequantize()?,
            (None, None) => unreachable!("`open` refuses other types"),
        };
        let tensor = if self.conversion.is_offset(name) {
            (tensor.to_dtype(DType::F32)? - 1.0)?
        } else {
            tensor
        };
        Ok(tensor.to_dtype(self.dtype)?)
    }

    /// Reads a matrix that stays in its blocks; `None` of a tensor of floats.
    pub(crate) fn quantized(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Option<Quantized>, Error> {
        let layout = self.info(name).and_then(|(_, info)| layout_of(info.kind()));
        let Some(layout) = layout else { return Ok(None) };
        let (info, bytes) = self.bytes(name)?;
        Ok(Some(blocks(layout, info.shape(), bytes, device)?))
    }
}

/// Whether the output layer of GPT-2 is there too, which is always the embedding.
///
/// # Errors
///
/// [`Error::Model`] when the two differ; those of [`Gguf::read`].
fn shared_output(file: &Gguf, architecture: &Architecture) -> Result<bool, Error> {
    if architecture.name != "gpt2" || file.tensor(OUTPUT).is_none() {
        return Ok(false);
    }
    let kind = |name: &str| file.tensor(name).map(TensorInfo::kind);
    if kind(OUTPUT) == kind(EMBEDDING) && file.read(OUTPUT)? == file.read(EMBEDDING)? {
        return Ok(true);
    }
    let reason =
        format!("`{OUTPUT}` differs from `{EMBEDDING}`, which is the output layer of GPT-2");
    Err(Error::model(file.path(), reason))
}

/// Makes a matrix of blocks.
fn blocks(
    layout: BlockLayout,
    shape: &[usize],
    bytes: Vec<u8>,
    device: &Device,
) -> Result<Quantized, Error> {
    let inputs = shape.last().copied().unwrap_or(1);
    let outputs = shape.iter().product::<usize>() / inputs.max(1);
    Ok(Quantized::from_blocks(layout, (outputs, inputs), bytes, device)?)
}

pub(super) fn is_configuration(name: &str) -> bool {
    FACTORS.contains(&name)
}

/// The type of floats.
pub(super) fn dtype_of(kind: TensorType) -> Option<DType> {
    match kind {
        TensorType::F32 => Some(DType::F32),
        TensorType::F16 => Some(DType::F16),
        TensorType::Bf16 => Some(DType::BF16),
        _ => None,
    }
}

/// The layout of blocks.
pub(super) fn layout_of(kind: TensorType) -> Option<BlockLayout> {
    match kind {
        TensorType::Q4_0 => Some(BlockLayout::Q4_0),
        TensorType::Q4_1 => Some(BlockLayout::Q4_1),
        TensorType::Q8_0 => Some(BlockLayout::Q8_0),
        TensorType::Q4K => Some(BlockLayout::Q4K),
        TensorType::Q5_0 => Some(BlockLayout::Q5_0),
        TensorType::Q5_1 => Some(BlockLayout::Q5_1),
        TensorType::Q5K => Some(BlockLayout::Q5K),
        TensorType::Q6K => Some(BlockLayout::Q6K),
        _ => None,
    }
}

/// The type that all floats are given: that of the matrices where these are floats of one type, else 32 bits. llama.cpp keeps
/// norms in 32 bits beside matrices of 16.
fn main_dtype<'a>(tensors: impl Iterator<Item = &'a TensorInfo>) -> (DType, &'static str) {
    let mut matrices = tensors.filter(|info| info.shape().len() > 1).map(TensorInfo::kind);
    let first = matrices.next();
    match first.filter(|first| matrices.all(|other| other == *first)) {
        Some(TensorType::F16) => (DType::F16, "float16"),
        Some(TensorType::Bf16) => (DType::BF16, "bfloat16"),
        _ => (DType::F32, "float32"),
    }
}
