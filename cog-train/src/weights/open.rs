//! Opening: which files of a folder are the weights, and that together they make one set of tensors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Weights;
use super::header;
use super::read::Opened;
use crate::error::Error;

const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "weights.safetensors";
/// The most bytes of an index; the largest open models have 5 MB.
const INDEX_BYTES: u64 = 100_000_000;
/// How many folders may lie in one another around the one with the files.
const NESTED: usize = 8;

/// Which tensor is in which file.
type Index = BTreeMap<String, String>;

pub(super) fn bad(place: &Path, reason: impl Into<String>) -> Error {
    Error::Weights { place: place.display().to_string(), reason: reason.into() }
}

/// Opens these files as one set of weights that is called `path`.
pub(super) fn files(path: PathBuf, files: Vec<PathBuf>) -> Result<Weights, Error> {
    let mut opened = Opened::new();
    let mut metadata = BTreeMap::new();
    for file in &files {
        let handle = File::open(file).map_err(Error::file("read", file))?;
        let size = handle.metadata().map_err(Error::file("read", file))?.len();
        let header = header::read(std::io::BufReader::new(&handle), size)
            .map_err(|reason| bad(file, reason))?;
        for (key, value) in header.metadata {
            metadata.entry(key).or_insert(value);
        }
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
            return Err(bad(
                &path,
                pickle_reason(&pickle.file_name().unwrap_or_default().to_string_lossy()),
            ));
        }
        let folders: Vec<&PathBuf> = entries.iter().filter(|entry| entry.is_dir()).collect();
        let [only] = folders[..] else { break };
        path.clone_from(only);
    }
    Err(bad(&path, "holds no `.safetensors` file"))
}

/// Opens the files that a Hugging Face index names.
fn sharded(path: PathBuf) -> Result<Weights, Error> {
    #[derive(serde::Deserialize)]
    struct Document {
        weight_map: Index,
    }

    let index = path.join(INDEX);
    let failed = || Error::file("read", &index);
    let size = fs::metadata(&index).map_err(failed())?.len();
    if size > INDEX_BYTES {
        return Err(bad(&index, format!("has {size} bytes, more than the limit of {INDEX_BYTES}")));
    }
    let text = fs::read(&index).map_err(failed())?;
    let Document { weight_map } = serde_json::from_slice(&text)
        .map_err(|error| bad(&index, format!("cannot be read: {error}")))?;

    let mut shards: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (tensor, shard) in &weight_map {
        if let Entry::Vacant(place) = shards.entry(shard) {
            let plain =
                !shard.contains(['/', '\\', '\0']) && extension(Path::new(shard)) == "safetensors";
            if !plain {
                let what = format!(
                    "puts tensor `{tensor}` into `{shard}`, which is not a safetensors file beside it"
                );
                return Err(bad(&index, what));
            }
            place.insert(path.join(shard));
        }
    }
    if shards.is_empty() {
        return Err(bad(&index, "names no file"));
    }
    let missing = shards.values().find(|file| !file.is_file());
    if let Some(missing) = missing {
        let name = missing.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(bad(&index, format!("names `{name}`, which is not there")));
    }
    let weights = files(path, shards.into_values().collect())?;
    for (tensor, shard) in &weight_map {
        let found = weights.opened.file_of(tensor).and_then(Path::file_name);
        if found != Some(shard.as_ref()) {
            return Err(bad(
                &index,
                format!("puts tensor `{tensor}` into `{shard}`, which does not hold it"),
            ));
        }
    }
    Ok(weights)
}

/// What is in a folder, by name, without what is hidden.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::file("read", folder);
    let mut entries = fs::read_dir(folder)
        .map_err(failed())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed())?;
    // What macOS puts beside files: `._model.safetensors` is no model.
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

/// Whether a file is named like torch's pickles.
pub(super) fn is_pickle_name(path: &Path) -> bool {
    ["pt", "pth", "bin", "ckpt", "pkl", "pickle"].contains(&extension(path).as_str())
}

/// Why a pickle is not opened.
pub(super) fn pickle_reason(name: &str) -> String {
    format!(
        "`{name}` is a pickle, and to read a pickle is to run its code\nhint: convert it in Python: \
         `safetensors.torch.save_file(torch.load(\"{name}\", weights_only=True), \"model.safetensors\")`"
    )
}
