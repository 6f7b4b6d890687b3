//! The file operations that checkpoints are made of, behind a trait: tests put a disk there that fails, stops or loses
//! power at every single one of them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// A disk.
pub(super) trait Disk: Send + Sync {
    /// Makes a folder in one that exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that was not there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;
    /// Brings the names in a folder to the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a folder to a name that is free, in the same folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<Item>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;
}

/// A file that is being written. A `write` may take less than it is given.
pub(super) trait Sink: Write {
    /// Brings what was written to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// As UTF-8; what is not is none of ours, and still has to differ from what is.
    pub(super) name: String,
    pub(super) is_dir: bool,
    /// The bytes of a file; 0 of a folder.
    pub(super) bytes: u64,
}

/// The machine's own.
pub(super) struct Real;

impl Disk for Real {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened as a file, and names need no call of their own.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
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

/// Removes a folder and all that is in it; one that is not there is removed.
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

/// Makes a folder and those around it that are not there, and brings their names to the disk.
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
    disk.sync_dir(around(path))
}

/// The folder that a path is in.
fn around(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
