//! Folders that appear whole or not at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::durable::{parent_of, sync_dir};
use crate::error::Error;

/// A folder under a temporary name beside its own. Dropping it removes it.
pub(super) struct StagedFolder {
    folder: TempDir,
    target: PathBuf,
}

impl StagedFolder {
    /// Begins a folder that does not exist, or is empty.
    pub(super) fn new(target: &Path) -> Result<Self, Error> {
        refuse_existing(target)?;
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        let folder = tempfile::Builder::new()
            .prefix(".cog-train-")
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent)
            .map_err(Error::file("create a folder in", parent))?;
        Ok(Self { folder, target: target.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name.
    pub(super) fn finish(self) -> Result<(), Error> {
        fs::rename(self.folder.path(), &self.target)
            .map_err(Error::file("create", &self.target))?;
        // What has the old name from now on is not this folder's to remove.
        let _renamed = self.folder.keep();
        sync_dir(parent_of(&self.target)).map_err(Error::file("write", parent_of(&self.target)))
    }
}

/// Refuses a path that is taken; an empty folder is not.
pub(super) fn refuse_existing(target: &Path) -> Result<(), Error> {
    let is_empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if target.symlink_metadata().is_err() || (target.is_dir() && is_empty(target)) {
        return Ok(());
    }
    let reason = format!("`{}` exists\nhint: name another, or remove it first", target.display());
    Err(Error::Arguments { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b");
        let staged = StagedFolder::new(&target).unwrap();
        fs::write(staged.path().join("file"), "x").unwrap();
        assert!(!target.exists());
        drop(staged);
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0);

        let staged = StagedFolder::new(&target).unwrap();
        fs::write(staged.path().join("file"), "x").unwrap();
        staged.finish().unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "x");
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o500, 0o500, "{mode:o}");
        let error = StagedFolder::new(&target).err().unwrap().to_string();
        assert!(error.ends_with("a/b` exists\nhint: name another, or remove it first"), "{error}");
    }
}
