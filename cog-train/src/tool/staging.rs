//! Folders that appear whole or not at all.

use std::fs;
use std::path::Path;

use crate::durable::parent_of;
use crate::error::Error;
use crate::run::{StagedFolder, staging_dir};

/// Begins a folder that does not exist or is empty, under another name beside its own.
pub(super) fn begin(target: &Path) -> Result<StagedFolder, Error> {
    refuse_existing(target)?;
    let parent = parent_of(target);
    fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    staging_dir(parent, target)
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b");
        let staged = begin(&target).unwrap();
        fs::write(staged.content().join("file"), "x").unwrap();
        assert!(!target.exists());
        drop(staged);
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0);

        let staged = begin(&target).unwrap();
        fs::write(staged.content().join("file"), "x").unwrap();
        staged.finish(&target).unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "x");
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o500, 0o500, "{mode:o}");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
        let error = begin(&target).err().unwrap().to_string();
        assert!(error.ends_with("a/b` exists\nhint: name another, or remove it first"), "{error}");
    }
}
