//! Writing the model of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor};
use cog_train_nn::Init;

use super::architecture::Architecture;
use super::config::{self, Contents};
use super::conversion::Conversion;
use super::metadata::{Written, differences};
use super::save::encoded;
use crate::error::{Error, printable_name};
use crate::gguf::{self, Entry, Metadata, TensorType};
use crate::models::causal_lm::CausalLm;
use crate::models::config::Config;
use crate::models::pretrained::Pretrained;
use crate::tokenizer_files;

/// The table of positions, which llama.cpp adds in 32 bits.
const POSITIONS: &str = "position_embd.weight";

/// A file of a folder's model: all but the values.
struct Header {
    metadata: Metadata,
    entries: Vec<Entry>,
    /// The names in the model, by those in the file.
    names: BTreeMap<String, String>,
    factors: BTreeMap<&'static str, Vec<f32>>,
}

impl Pretrained {
    /// Checks that [`save_gguf`](Self::save_gguf) can write the model.
    ///
    /// # Errors
    ///
    /// Those of [`save_gguf`](Self::save_gguf) for a folder whose configuration or tokenizer a GGUF file cannot hold.
    pub fn check_gguf(&self) -> Result<(), Error> {
        if self.source().gguf().is_some() {
            return Ok(());
        }
        self.header(&BTreeMap::new(), &self.gguf_conversion()?).map(drop)
    }

    /// Writes the model of a folder.
    pub(super) fn folder_as_gguf(
        &self,
        path: &Path,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<(), Error> {
        let conversion = self.gguf_conversion()?;
        let Header { metadata, entries, names, factors } = self.header(tensors, &conversion)?;
        gguf::save(path, &metadata, &entries, |entry| {
            if let Some(factors) = factors.get(entry.name.as_str()) {
                return Ok(factors.iter().flat_map(|factor| factor.to_le_bytes()).collect());
            }
            let name = &names[&entry.name];
            let tensor = match tensors.get(name) {
                Some(tensor) => tensor.clone(),
                None => self.one(name)?,
            };
            encoded(&conversion, name, entry, &tensor)
        })
    }

    /// Loads a tensor of the base in floats.
    fn one(&self, name: &str) -> Result<Tensor, Error> {
        let mut blocks = self.quantized_in_files(&Device::Cpu, |other| other == name)?;
        if let Some(matrix) = blocks.remove(name) {
            return Ok(matrix.dequantize()?);
        }
        let mut one = self.read([name.to_owned()].into_iter(), &Device::Cpu)?;
        one.remove(name).ok_or_else(|| {
            Error::model(self.folder(), format!("`{}` is missing", printable_name(name)))
        })
    }

    fn header(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        conversion: &Conversion,
    ) -> Result<Header, Error> {
        let refused = |reason: String| Error::model(self.folder(), reason);
        let architecture = conversion.architecture();
        let shapes = Init::shapes_of(|init| CausalLm::new(init, self.config()))?;
        let known = |name: &str| shapes.get(name).map(Shape::dims);
        super::save::check(tensors, known).map_err(refused)?;
        let cannot = |keys: String| {
            refused(format!("{keys} cannot be written to a GGUF file of `{}`", architecture.name))
        };
        let mut written = Written::new(self.config(), architecture).map_err(cannot)?;
        let (mut entries, mut names, mut kinds) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for (name, shape) in &shapes {
            let file = architecture.to_file(name).ok_or_else(|| {
                refused(format!("llama.cpp has no name for `{}`", printable_name(name)))
            })?;
            let dtype = tensors.get(name).map(Tensor::dtype).or_else(|| self.stored_dtype(name));
            let kind = match dtype {
                _ if shape.rank() < 2 || file == POSITIONS => TensorType::F32,
                Some(DType::F16) => TensorType::F16,
                Some(DType::BF16) => TensorType::Bf16,
                _ => TensorType::F32,
            };
            if shape.rank() == 2 {
                kinds.insert(kind.to_string());
            }
            entries.push(Entry::new(file.clone(), kind, shape.dims()));
            names.insert(file, name.clone());
        }
        for (name, factors) in &written.factors {
            entries.push(Entry::new(*name, TensorType::F32, [factors.len()]));
        }
        let name = self.folder().file_name().unwrap_or_default().to_string_lossy().into_owned();
        written.metadata.insert("general.name", name);
        // llama.cpp's number of the type that most matrices have.
        let file_type = match kinds.last().map(String::as_str) {
            Some("F16") => 1_u32,
            _ if kinds.contains("BF16") => 32,
            _ => 0,
        };
        written.metadata.insert("general.file_type", file_type);
        let tokenizer = tokenizer_files::metadata(self.folder(), self.config().vocabulary())?;
        for (key, value) in tokenizer.iter() {
            written.metadata.insert(key, value.clone());
        }
        let read = read_back(&written, &entries, architecture, self.folder())?;
        match differences(self.config(), &read).as_slice() {
            [] => {}
            keys => {
                let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
                return Err(cannot(keys.join(", ")));
            }
        }
        let Written { metadata, factors, .. } = written;
        Ok(Header { metadata, entries, names, factors: factors.into_iter().collect() })
    }

    /// The float type of a tensor in the base's files; `None` of one in blocks.
    fn stored_dtype(&self, name: &str) -> Option<DType> {
        match self.source().describe(self.stored_name(name)?)?.dtype.as_str() {
            "F16" => Some(DType::F16),
            "BF16" => Some(DType::BF16),
            _ => None,
        }
    }
}

/// The configuration that is read back from a file.
fn read_back(
    written: &Written,
    entries: &[Entry],
    architecture: &Architecture,
    folder: &Path,
) -> Result<Config, Error> {
    let shapes = entries.iter().map(|entry| (entry.name.as_str(), entry.shape.as_slice()));
    let wide = |factors: &[f32]| factors.iter().map(|factor| f64::from(*factor)).collect();
    let factors = written.factors.iter().map(|(name, factors)| (*name, Ok(wide(factors))));
    let contents = Contents {
        path: folder,
        metadata: &written.metadata,
        shapes: shapes.collect(),
        factors: factors.collect(),
    };
    Config::of_json(config::config(&contents, architecture, "float32")?, folder)
}
