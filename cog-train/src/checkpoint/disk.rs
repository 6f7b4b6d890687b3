//! The file operations of checkpoints, behind a trait: tests implement it with disks that fail, stop or lose power at every
//! single operation.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::durable;

/// A disk.
pub(super) trait Disk: Send + Sync {
    /// Creates a folder in one that exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file that does not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a folder to an unused name in the same folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Lists a folder, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<Item>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;
}

/// A file that is being written. A `write` may be partial.
pub(super) trait Sink: Write {
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Lossily decoded as UTF-8: no other name is one of a checkpoint's.
    pub(super) name: String,
    pub(super) is_dir: bool,
    /// The size of a file; 0 for a folder.
    pub(super) bytes: u64,
}

/// The file system of the operating system.
pub(super) struct Real;

impl Disk for Real {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        durable::sync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            items.push(Item {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: kind.is_dir(),
                bytes: if kind.is_file() { entry.metadata()?.len() } else { 0 },
            });
        }
        items.sort();
        Ok(items)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(path)?))
    }
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Removes a folder and its content. Does nothing if it does not exist.
pub(super) fn remove_tree(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let items = match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        items => items?,
    };
    for item in items {
        let inner = path.join(&item.name);
        if item.is_dir { remove_tree(disk, &inner)? } else { disk.remove_file(&inner)? }
    }
    disk.remove_dir(path)
}

/// Creates a folder and its missing parents, and makes their names durable.
pub(super) fn create_all(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return disk.list(path).map(drop);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().ok_or(error)?;
            create_all(disk, parent)?;
            disk.create_dir(path)?;
        }
        Err(error) => return Err(error),
    }
    disk.sync_dir(durable::parent_of(path))
}
