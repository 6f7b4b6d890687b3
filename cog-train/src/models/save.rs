//! Saving: tensors in shards, beside the files of the base.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};

use super::body::names;
use super::head::ARCHITECTURES;
use super::pretrained::{CONFIG, Pretrained};
use crate::error::Error;
use crate::partial;
use crate::tokenizer_files;
use crate::weights::Weights;

/// The most bytes of a file of tensors, as in transformers.
const SHARD_BYTES: usize = 5_000_000_000;
/// The most bytes of another file that is carried over.
const CARRIED_BYTES: u64 = 1 << 30;
/// The most folders within folders that are carried over.
const DEPTH: usize = 3;
/// Ends of the names of files that hold weights, in any framework.
const WEIGHTS: &[&str] = &[
    "bin",
    "ckpt",
    "gguf",
    "h5",
    "index.json",
    "msgpack",
    "onnx",
    "onnx_data",
    "ot",
    "pkl",
    "pt",
    "pth",
    "safetensors",
    "tflite",
    "xml",
];

impl Pretrained {
    /// Writes a model that transformers opens: `tensors` by the names of [`Pretrained::tensors`], in files of up to 5 GB, and the
    /// other files of the base as they are. In `config.json` the type of the tensors is updated. Without another
    /// [head](Pretrained::with_head), tensors of the base that are not given are kept, such as a pooler that nothing trains. Matrices that
    /// are [quantized](Pretrained::quantized) in the base's files are saved in floats.
    ///
    /// Of a GGUF file, `config.json`, the tokenizer and the chat template are written from its metadata; see
    /// [`save_gguf`](Self::save_gguf) for one more GGUF file.
    ///
    /// The base's `README.md` and its weights in other formats are left out, as they describe another model.
    ///
    /// # Errors
    ///
    /// [`Error::File`], [`Error::Weights`] or [`Error::Tensor`]; [`Error::Tokenizer`], when all else is written, for a GGUF file with a
    /// tokenizer of another kind than `text::Tokenizer::open` knows.
    pub fn save<K: Into<String>>(
        &self,
        folder: impl AsRef<Path>,
        tensors: impl IntoIterator<Item = (K, Tensor)>,
    ) -> Result<(), Error> {
        let folder = folder.as_ref();
        let mut tensors: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        let names = names(self.config());
        if !self.changes().contains_key(ARCHITECTURES) {
            let kept = self.names().filter(|name| !tensors.contains_key(*name));
            let kept = kept.filter(|name| !(self.config().tied() && names.is_tied(name)));
            let kept: Vec<String> = kept.map(str::to_owned).collect();
            let dtype = tensors.values().next().map(Tensor::dtype);
            for (name, tensor) in self.read(kept.into_iter(), &Device::Cpu)? {
                let tensor = tensor.to_dtype(dtype.unwrap_or(tensor.dtype()))?;
                tensors.insert(name, tensor);
            }
            let dtype = dtype.or(self.config().dtype()).unwrap_or(DType::F32);
            let missing = |name: &str| !tensors.contains_key(name);
            let matrices = self.quantized_in_files(&Device::Cpu, missing)?;
            for (name, matrix) in matrices {
                tensors.insert(name, matrix.to_dtype(dtype).dequantize()?);
            }
        }
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        if self.folder().is_dir() {
            carry(self.folder(), folder, DEPTH)?;
        }
        let dtypes: BTreeSet<&str> =
            tensors.values().filter_map(|t| dtype_name(t.dtype())).collect();
        let dtype = dtypes.first().filter(|_| dtypes.len() == 1).copied();
        let config = self.changed_config(dtype)?;
        write_json(&folder.join(CONFIG), &config)?;
        // A file of the body alone keeps its names, unless a head came to it.
        let own = tensors.keys().all(|name| self.stored_name(name).is_some());
        let stored = |name: String| match self.stored_name(&name).filter(|_| own) {
            Some(stored) => stored.to_owned(),
            None => name,
        };
        let stored = |(name, tensor): (String, Tensor)| {
            let transposed = names.is_transposed(&name) && tensor.rank() == 2;
            let tensor = if transposed { tensor.t()?.contiguous()? } else { tensor };
            Ok((stored(name), tensor))
        };
        let tensors = tensors.into_iter().map(stored).collect::<Result<_, Error>>()?;
        write_shards(folder, tensors, SHARD_BYTES)?;
        match self.source().gguf() {
            Some(model) => tokenizer_files::save(model.file(), folder),
            None => Ok(()),
        }
    }

    /// Writes what a folder of an adapter has beside it: the tokenizer, and the configuration where its labels or its head are new, as
    /// Python looks for them there.
    pub(crate) fn save_beside_adapter(&self, folder: &Path) -> Result<(), Error> {
        match self.source().gguf() {
            Some(model) => tokenizer_files::save(model.file(), folder)?,
            None => tokenizer_files::copy(self.folder(), folder)?,
        }
        if self.changes().is_empty() {
            return Ok(());
        }
        write_json(&folder.join(CONFIG), &self.changed_config(None)?)
    }

    fn changed_config(&self, dtype: Option<&str>) -> Result<Value, Error> {
        let mut config = if let Some(model) = self.source().gguf() {
            model.json().clone()
        } else {
            let file = self.folder().join(CONFIG);
            let text = fs::read(&file).map_err(Error::file("read", &file))?;
            serde_json::from_slice::<Map<String, Value>>(&text)
                .map_err(|error| Error::model(&file, format!("cannot be read: {error}")))?
        };
        if let Some(dtype) = dtype {
            let old = config.contains_key("torch_dtype");
            if old {
                config.insert("torch_dtype".to_owned(), json!(dtype));
            }
            if !old || config.contains_key("dtype") {
                config.insert("dtype".to_owned(), json!(dtype));
            }
        }
        // What is saved is not quantized.
        config.remove("quantization_config");
        for (key, value) in self.changes() {
            if value.is_null() {
                config.remove(key);
            } else {
                config.insert(key.clone(), value.clone());
            }
        }
        Ok(Value::Object(config))
    }
}

/// PyTorch's name of a type of float.
fn dtype_name(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("float32"),
        DType::BF16 => Some("bfloat16"),
        DType::F16 => Some("float16"),
        DType::F64 => Some("float64"),
        _ => None,
    }
}

/// Copies the files of the base that hold no weights.
fn carry(from: &Path, to: &Path, depth: usize) -> Result<(), Error> {
    let failed = || Error::file("read", from);
    for entry in fs::read_dir(from).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let (source, target) = (entry.path(), to.join(&name));
        // Files in a hub's cache are links.
        let found = fs::metadata(&source).map_err(Error::file("read", &source))?;
        if name.starts_with('.') || target == from {
            continue;
        }
        if found.is_dir() && depth > 0 {
            if holds_files(&source, depth - 1)? {
                fs::create_dir_all(&target).map_err(Error::file("create", &target))?;
                carry(&source, &target, depth - 1)?;
            }
        } else if found.is_file() && is_carried(&name) && found.len() <= CARRIED_BYTES {
            let same = fs::canonicalize(&source).ok() == fs::canonicalize(&target).ok();
            if !same {
                fs::copy(&source, &target).map_err(Error::file("write", &target))?;
            }
        }
    }
    Ok(())
}

/// Whether a folder has a file that is carried over.
fn holds_files(folder: &Path, depth: usize) -> Result<bool, Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let entry = entry.map_err(Error::file("read", folder))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let inside = path.is_dir() && depth > 0 && holds_files(&path, depth - 1)?;
        if inside || (path.is_file() && is_carried(&name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_carried(name: &str) -> bool {
    let weights =
        WEIGHTS.iter().any(|end| name.strip_suffix(end).is_some_and(|start| start.ends_with('.')));
    !weights && !name.starts_with('.') && name != "README.md"
}

/// Writes tensors into one file, or into several with an index.
fn write_shards(
    folder: &Path,
    tensors: BTreeMap<String, Tensor>,
    most: usize,
) -> Result<(), Error> {
    let mut shards: Vec<Vec<(String, Tensor)>> = Vec::new();
    let (mut room, mut total) = (0, 0);
    for (name, tensor) in tensors {
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        if shards.is_empty() || bytes > room {
            shards.push(Vec::new());
            room = most.max(bytes);
        }
        (room, total) = (room - bytes, total + bytes);
        shards.last_mut().into_iter().for_each(|shard| shard.push((name.clone(), tensor.clone())));
    }
    remove_old(folder)?;
    let count = shards.len();
    if count <= 1 {
        let tensors = shards.pop().unwrap_or_default();
        Weights::save(tensors, folder.join("model.safetensors"))?;
        return Ok(());
    }
    let mut places = Map::new();
    for (number, shard) in (1..).zip(shards) {
        let file = format!("model-{number:05}-of-{count:05}.safetensors");
        places.extend(shard.iter().map(|(name, _)| (name.clone(), json!(file))));
        Weights::save(shard, folder.join(file))?;
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": places});
    write_json(&folder.join("model.safetensors.index.json"), &index)
}

/// Removes the weights of an earlier save, which would be read with or in place of the new ones.
fn remove_old(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let path = entry.map_err(Error::file("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let shard = name.starts_with("model-") && name.ends_with(".safetensors");
        if shard || name == "model.safetensors" || name == "model.safetensors.index.json" {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(())
}

/// Writes a file atomically, as Python's `json` does with an indent of two.
pub(crate) fn write_json(file: &Path, value: &Value) -> Result<(), Error> {
    let failed = || Error::file("write", file);
    let parent = file.parent().unwrap_or(Path::new("."));
    let partial = partial::file(parent, ".json-").map_err(Error::file("create", file))?;
    let text = format!("{value:#}\n");
    fs::write(partial.path(), text).map_err(failed())?;
    partial.persist(file).map_err(|error| failed()(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A tensor larger than a shard has one of its own. The shards of an earlier save are gone.
    #[test]
    fn shards_hold_at_most_their_limit_and_read_back_equal() {
        let dir = tempfile::tempdir().unwrap();
        let tensor = |count: u32| Tensor::arange(0, count, &Device::Cpu).unwrap();
        let sizes = [("a", 10), ("b", 15), ("c", 5), ("d", 40), ("e", 1)];
        let tensors: BTreeMap<String, Tensor> =
            sizes.iter().map(|(name, count)| ((*name).to_owned(), tensor(*count))).collect();
        // Of u32, 4 bytes each.
        write_shards(dir.path(), tensors.clone(), 100).unwrap();
        let index = dir.path().join("model.safetensors.index.json");
        let index: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
        let shard = |number| format!("model-0000{number}-of-00004.safetensors");
        let places =
            json!({"a": shard(1), "b": shard(1), "c": shard(2), "d": shard(3), "e": shard(4)});
        assert_eq!(index, json!({"metadata": {"total_size": 284}, "weight_map": places}));
        let read = || {
            let weights = Weights::open(dir.path().to_str().unwrap()).unwrap();
            let tensors = weights.tensors(&Device::Cpu).unwrap().into_iter();
            tensors
                .map(|(name, tensor)| (name, tensor.to_vec1::<u32>().unwrap()))
                .collect::<Vec<_>>()
        };
        let expected: Vec<(String, Vec<u32>)> =
            tensors.iter().map(|(name, t)| (name.clone(), t.to_vec1().unwrap())).collect();
        assert_eq!(read(), expected);
        write_shards(dir.path(), tensors, SHARD_BYTES).unwrap();
        assert_eq!(files(dir.path()), ["model.safetensors"]);
        assert_eq!(read(), expected);
    }
}
