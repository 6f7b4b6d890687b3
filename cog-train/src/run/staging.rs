//! Files and folders under construction beside their final path, and durable copies.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::durable;
pub(crate) use crate::durable::parent_of;
use crate::error::Error;
use crate::partial;

/// A folder under construction. Dropping it removes it.
pub(crate) struct StagedFolder {
    partial: partial::Folder,
}

impl StagedFolder {
    /// The folder that is renamed to its destination. Only this user may enter the partial folder around it.
    pub(crate) fn content(&self) -> PathBuf {
        self.partial.path().join("content")
    }

    /// Gives the folder the name `target`, which is free or that of an empty folder.
    #[cfg(feature = "cli")]
    pub(crate) fn finish(self, target: &Path) -> Result<(), Error> {
        fs::rename(self.content(), target).map_err(Error::file("create", target))?;
        sync_dir(parent_of(target))
    }
}

/// Creates a file under construction, after removing those of dead processes.
pub(crate) fn staging_file(parent: &Path, target: &Path) -> Result<NamedTempFile, Error> {
    partial::file(parent, &staging_prefix(target)).map_err(Error::file("write into", parent))
}

/// Creates a folder under construction, after removing those of dead processes.
pub(crate) fn staging_dir(parent: &Path, target: &Path) -> Result<StagedFolder, Error> {
    let fail = || Error::file("write into", parent);
    let partial = partial::folder(parent, &staging_prefix(target)).map_err(fail())?;
    let staged = StagedFolder { partial };
    fs::create_dir(staged.content()).map_err(fail())?;
    Ok(staged)
}

/// `.weights.`
pub(crate) fn staging_prefix(target: &Path) -> String {
    format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy())
}

pub(crate) fn copy_synced(from: &Path, to: &Path) -> Result<(), Error> {
    if from.is_dir() {
        fs::create_dir(to).map_err(Error::file("create", to))?;
        return copy_tree(from, to);
    }
    fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()).map_err(Error::file("write", to))
}

pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(from).map_err(Error::file("read", from))? {
        let entry = entry.map_err(Error::file("read", from))?;
        copy_synced(&entry.path(), &to.join(entry.file_name()))?;
    }
    sync_dir(to)
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::file("write", path))
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    durable::sync_dir(dir).map_err(Error::file("sync", dir))
}

pub(crate) fn names_in(dir: &Path) -> std::io::Result<Vec<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
