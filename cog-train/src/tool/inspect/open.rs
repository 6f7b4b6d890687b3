//! Finds out which format weights have, and reads what describes them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::describe;
use super::{Digested, Found, Tensor, digest};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::gguf::{Gguf, MAGIC};
use crate::progress::{CancelToken, Report};
use crate::run::{is_run, shown};
use crate::weights::{Weights, cache_dir};

const MANIFEST: &str = "manifest.json";
const ADAPTER: &str = "adapter_config.json";
const CONFIG: &str = "config.json";

/// Opens whatever `source` names.
pub(super) fn open(source: &str, report: &mut dyn Report) -> Result<Found, Error> {
    let path = Path::new(source);
    if path.join(MANIFEST).is_file() {
        return checkpoint(path);
    }
    if path.is_dir() && is_run(path) {
        return Err(is_a_run(path));
    }
    if is_gguf(path) {
        return gguf(path, report);
    }
    let weights = match cache_dir() {
        Ok(cache) => Weights::open_with(source, &cache, &CancelToken::new(), report)?,
        // Where there is no home, a source that needs a cache is refused.
        Err(_) => Weights::open(source)?,
    };
    of_weights(path, &weights, report)
}

fn is_gguf(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 4];
    path.is_file()
        && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *MAGIC
}

/// A run's folder holds several things that can be described.
fn is_a_run(dir: &Path) -> Error {
    let mut inside: Vec<PathBuf> = ["checkpoints", "weights", "model", "adapter"]
        .into_iter()
        .map(|name| dir.join(name))
        .filter(|path| path.is_dir())
        .collect();
    if let Some(checkpoints) = inside.first_mut().filter(|path| path.ends_with("checkpoints")) {
        let entries = std::fs::read_dir(&*checkpoints).into_iter().flatten().flatten();
        let newest = entries.map(|entry| entry.path()).filter(|path| path.join(MANIFEST).is_file());
        if let Some(newest) = newest.max() {
            *checkpoints = newest;
        }
    }
    let hint = match inside.as_slice() {
        [] => "`cog-train runs` describes runs".to_owned(),
        inside => {
            let names: Vec<String> =
                inside.iter().map(|path| format!("`{}`", shown(path))).collect();
            format!("inspect {}", names.join(" or "))
        }
    };
    let reason = format!("`{}` is the folder of a run\nhint: {hint}", shown(dir));
    Error::Arguments { reason }
}

fn checkpoint(path: &Path) -> Result<Found, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let (mut tensors, mut files) = (Vec::new(), Vec::new());
    for digested in checkpoint.digests() {
        let name = digested.name;
        let file = path.join(format!("{name}.safetensors"));
        for tensor in tensors_of(&Weights::open_file(&file)?) {
            tensors.push(Tensor { name: format!("{name}: {}", tensor.name), ..tensor });
        }
        let (bytes, xxh3) = (digested.bytes, digested.xxh3.to_owned());
        files.push(Digested { path: file, bytes, digest: xxh3 });
    }
    let best = if checkpoint.is_best() { ", the best so far" } else { "" };
    let mut metadata = Map::new();
    describe::flatten("", checkpoint.state(), &mut metadata);
    Ok(Found {
        what: format!("a checkpoint at step {}{best}", checkpoint.step()),
        metadata,
        tensors,
        files,
        digest: "xxh3",
        is_verified: true,
    })
}

fn gguf(path: &Path, report: &mut dyn Report) -> Result<Found, Error> {
    let file = Gguf::open(path)?;
    let tensors = file.tensors().iter().map(|(name, info)| Tensor {
        name: name.clone(),
        dtype: info.kind().to_string(),
        shape: info.shape().to_vec(),
        bytes: info.bytes() as u64,
    });
    let metadata =
        file.metadata().iter().map(|(key, value)| (key.to_owned(), describe::gguf_value(value)));
    Ok(Found {
        what: "a GGUF file".to_owned(),
        metadata: metadata.collect(),
        tensors: tensors.collect(),
        files: digest(&[path.to_owned()], report)?,
        digest: "sha256",
        is_verified: false,
    })
}

/// A safetensors file or a folder of them, perhaps with the settings of a model or an adapter.
fn of_weights(path: &Path, weights: &Weights, report: &mut dyn Report) -> Result<Found, Error> {
    let folder = weights.path();
    let folder = if folder.is_dir() { folder } else { folder.parent().unwrap_or(folder) };
    let mut metadata: Map<String, Value> =
        weights.metadata().iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let (config, mut what) = if folder.join(ADAPTER).is_file() {
        (Some(ADAPTER), "an adapter in PEFT's format".to_owned())
    } else if !path.is_file() && folder.join(CONFIG).is_file() {
        (Some(CONFIG), "a model in Hugging Face's format".to_owned())
    } else if path.is_file() {
        (None, "a safetensors file".to_owned())
    } else {
        (None, "safetensors files".to_owned())
    };
    if path.is_file() && weights.path() != path {
        what = format!("an archive of {what}");
    }
    let config = config.and_then(|name| {
        serde_json::from_slice::<Value>(&std::fs::read(folder.join(name)).ok()?).ok()
    });
    if let Some(config) = config {
        describe::flatten("", &config, &mut metadata);
    }
    Ok(Found {
        what,
        metadata,
        tensors: tensors_of(weights),
        files: digest(weights.files(), report)?,
        digest: "sha256",
        is_verified: false,
    })
}

fn tensors_of(weights: &Weights) -> Vec<Tensor> {
    let described = weights.names().filter_map(|name| {
        let (dtype, shape) = weights.describe(name)?;
        let elements: u64 = shape.iter().map(|size| *size as u64).product();
        let bytes = (elements * describe::bits(&dtype)).div_ceil(8);
        Some(Tensor { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes })
    });
    described.collect()
}
