//! The files in the folders of an output, by which the next output distinguishes its own from somebody else's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::read;
use crate::run::staging::write_synced;

/// Hidden, so that no reader of weights takes it for one.
pub(super) const MANIFEST: &str = ".output-files.json";

/// Writes the manifest of a staged output, if the output has folders.
pub(super) fn write(content: &Path) -> Result<(), Error> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(content).map_err(Error::file("read", content))? {
        let path = entry.map_err(Error::file("read", content))?.path();
        if path.is_dir() {
            files.extend(files_in(&path).map_err(Error::file("read", &path))?);
        }
    }
    let relative = |file: &PathBuf| file.strip_prefix(content).map(Path::to_owned).ok();
    let files: Vec<PathBuf> = files.iter().filter_map(relative).collect();
    if files.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&files).unwrap_or_default() + "\n";
    write_synced(&content.join(MANIFEST), text.as_bytes())
}

/// Returns the relative paths in the manifest of a folder; none without one.
pub(super) fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let text = read::file(&dir.join(MANIFEST), read::JSON_BYTES).unwrap_or_default();
    let files: Vec<PathBuf> = serde_json::from_slice(&text).unwrap_or_default();
    let is_below = |file: &PathBuf| {
        file.components().all(|component| matches!(component, Component::Normal(_)))
    };
    files.into_iter().filter(is_below).collect()
}

/// Whether all files below the folder `name` of `dir` are in the manifest.
pub(super) fn has_all(dir: &Path, name: &str) -> bool {
    let own = files(dir);
    let is_own =
        |file: &PathBuf| file.strip_prefix(dir).is_ok_and(|relative| own.contains(relative));
    files_in(&dir.join(name)).is_ok_and(|files| files.iter().all(is_own))
}

/// Removes the files that the manifest of `dir` has and that of `content`, which replaces them, has not.
pub(super) fn remove_stale(dir: &Path, content: &Path) -> Result<(), Error> {
    let new = files(content);
    for stale in files(dir).difference(&new).map(|file| dir.join(file)) {
        if stale.is_file() {
            fs::remove_file(&stale).map_err(Error::file("remove", &stale))?;
        }
    }
    Ok(())
}

fn files_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            files.extend(files_in(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
