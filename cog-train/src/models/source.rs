//! The files that the tensors of a model are in.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::gguf::GgufModel;
use super::names::Names;
use crate::error::Error;
use crate::weights::Weights;

/// The files of a model's tensors.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The safetensors of a folder.
    Folder(Weights),
    Gguf(Box<GgufModel>),
}

/// The type and the shape of a stored tensor.
pub(crate) struct Description {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
}

impl Source {
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Folder(weights) => weights.names().collect(),
            Self::Gguf(model) => model.names().collect(),
        }
    }

    pub(crate) fn describe(&self, name: &str) -> Option<Description> {
        match self {
            Self::Folder(weights) => {
                let (dtype, shape) = weights.describe(name)?;
                Some(Description { dtype: dtype.clone(), shape: shape.to_vec() })
            }
            // What the tensor is read as; `GgufModel::open` refuses the types that cannot be.
            Self::Gguf(model) => {
                Some(Description { dtype: "F32".to_owned(), shape: model.shape(name)?.to_vec() })
            }
        }
    }

    /// Reads a tensor as it is stored; blocks as floats.
    pub(crate) fn get(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        match self {
            Self::Folder(weights) => weights.get(name, device),
            Self::Gguf(model) => model.get(name, device),
        }
    }

    /// Whether a matrix is stored transposed.
    pub(crate) fn is_transposed(&self, names: &Names, name: &str) -> bool {
        matches!(self, Self::Folder(_)) && names.is_transposed(name)
    }

    /// The GGUF file.
    pub(crate) fn gguf(&self) -> Option<&GgufModel> {
        match self {
            Self::Folder(_) => None,
            Self::Gguf(model) => Some(model),
        }
    }

    /// The place of the configuration, for messages.
    pub(crate) fn configuration(&self) -> &'static str {
        match self {
            Self::Folder(_) => "`config.json`",
            Self::Gguf(_) => "the metadata",
        }
    }
}

/// Whether a path is that of a GGUF file: a file, whatever its name is.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.is_file()
}
