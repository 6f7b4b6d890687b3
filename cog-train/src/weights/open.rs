//! Opening: the files of a folder that are the weights, and one set of tensors from them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Weights;
use super::header;
use super::read::Opened;
use crate::error::{Error, printable, printable_name};
use crate::read;

const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "weights.safetensors";
/// The most bytes of an index; the largest open models have 5 MB.
const INDEX_BYTES: u64 = 100_000_000;
/// The most folders around the one with the files.
const NESTED: usize = 8;

/// The file of each tensor.
type Index = BTreeMap<String, String>;

/// Opens these files as one set of weights that is called `path`.
pub(super) fn files(path: PathBuf, files: Vec<PathBuf>) -> Result<Weights, Error> {
    indexed(path, files, &Index::new())
}

/// Opens these files. Of a tensor in the index only the copy in the file that the index names counts.
fn indexed(path: PathBuf, files: Vec<PathBuf>, index: &Index) -> Result<Weights, Error> {
    let mut opened = Opened::new();
    let mut metadata = BTreeMap::new();
    for file in &files {
        let handle = File::open(file).map_err(Error::file("read", file))?;
        let size = handle.metadata().map_err(Error::file("read", file))?.len();
        let mut header = header::read(BufReader::new(&handle), size)
            .map_err(|reason| Error::weights(file, reason))?;
        for (key, value) in header.metadata {
            metadata.entry(key).or_insert(value);
        }
        header.tensors.retain(|tensor, _| {
            index.get(tensor).is_none_or(|shard| file.file_name() == Some(shard.as_ref()))
        });
        opened.add(file, handle, header.tensors)?;
    }
    Ok(Weights { path, files, metadata, opened: Arc::new(opened) })
}

/// Opens a folder.
pub(super) fn folder(path: &Path) -> Result<Weights, Error> {
    let mut path = path.to_owned();
    for _ in 0..NESTED {
        if path.join(MODEL).is_file() {
            return files(path.clone(), vec![path.join(MODEL)]);
        }
        if path.join(INDEX).is_file() {
            return sharded(path);
        }
        if path.join(WEIGHTS).is_file() {
            return files(path.clone(), vec![path.join(WEIGHTS)]);
        }
        let entries = sorted(&path)?;
        let found: Vec<PathBuf> = entries
            .iter()
            .filter(|entry| extension(entry) == "safetensors" && entry.is_file())
            .cloned()
            .collect();
        if !found.is_empty() {
            return files(path, found);
        }
        if let Some(pickle) = entries.iter().find(|entry| is_pickle_name(entry)) {
            return Err(Error::weights(
                &path,
                pickle_reason(&pickle.file_name().unwrap_or_default().to_string_lossy()),
            ));
        }
        let folders: Vec<&PathBuf> = entries.iter().filter(|entry| entry.is_dir()).collect();
        let [only] = folders[..] else { break };
        path.clone_from(only);
    }
    Err(Error::weights(&path, "holds no `.safetensors` file"))
}

/// Opens the files that a Hugging Face index names.
fn sharded(path: PathBuf) -> Result<Weights, Error> {
    #[derive(serde::Deserialize)]
    struct Document {
        weight_map: Index,
    }

    let index = path.join(INDEX);
    let text = read::file(&index, INDEX_BYTES)?;
    let Document { weight_map } = serde_json::from_slice(&text)
        .map_err(|error| Error::weights(&index, format!("cannot be read: {}", printable(error))))?;

    let mut shards: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (tensor, shard) in &weight_map {
        if let Entry::Vacant(entry) = shards.entry(shard) {
            let plain =
                !shard.contains(['/', '\\', '\0']) && extension(Path::new(shard)) == "safetensors";
            if !plain {
                let reason = format!(
                    "puts tensor `{}` into `{}`, which is not a safetensors file beside it",
                    printable_name(tensor),
                    printable_name(shard)
                );
                return Err(Error::weights(&index, reason));
            }
            entry.insert(path.join(shard));
        }
    }
    if shards.is_empty() {
        return Err(Error::weights(&index, "names no file"));
    }
    let missing = shards.values().find(|file| !file.is_file());
    if let Some(missing) = missing {
        let name = missing.file_name().unwrap_or_default().to_string_lossy();
        let name = printable_name(&name);
        return Err(Error::weights(&index, format!("names `{name}`, which is not there")));
    }
    let weights = indexed(path, shards.into_values().collect(), &weight_map)?;
    for (tensor, shard) in &weight_map {
        if !weights.opened.contains(tensor) {
            let (tensor, shard) = (printable_name(tensor), printable_name(shard));
            let reason = format!("puts tensor `{tensor}` into `{shard}`, which does not hold it");
            return Err(Error::weights(&index, reason));
        }
    }
    Ok(weights)
}

/// Returns the entries of a folder, sorted, without the hidden ones.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::file("read", folder);
    let mut entries = fs::read_dir(folder)
        .map_err(failed())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed())?;
    // macOS adds files of its own: `._model.safetensors` is no model.
    entries.retain(|entry| {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name != "__MACOSX"
    });
    entries.sort();
    Ok(entries)
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Returns whether a file is named like a pickle of PyTorch.
pub(super) fn is_pickle_name(path: &Path) -> bool {
    ["pt", "pth", "bin", "ckpt", "pkl", "pickle"].contains(&extension(path).as_str())
}

/// Returns the reason for which a pickle is not opened.
pub(super) fn pickle_reason(name: &str) -> String {
    let name = printable_name(name);
    format!(
        "`{name}` is a pickle, and to read a pickle is to run its code\nhint: convert it in Python: \
         `safetensors.torch.save_file(torch.load(\"{name}\", weights_only=True), \"model.safetensors\")`"
    )
}
