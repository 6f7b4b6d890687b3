//! The file operations of checkpoints, behind a trait: tests implement it with disks that fail, stop or lose power at every
//! single operation.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::OFlags;

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
        let file = File::create_new(path)?;
        // A file system without direct writes may refuse the flag.
        let _result = rustix::fs::fcntl_setfl(&file, DIRECT);
        Ok(Box::new(Direct(file)))
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

/// The flag of a file that is written without the page cache, on systems that have it.
#[cfg(target_os = "linux")]
const DIRECT: OFlags = OFlags::DIRECT;
#[cfg(not(target_os = "linux"))]
const DIRECT: OFlags = OFlags::empty();

/// A file that is written without the page cache: a copy into the cache, and the eviction of what else it held, would
/// cost more processor time than all other work of a save.
struct Direct(File);

impl Write for Direct {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            // Only whole blocks from aligned memory can be written directly. The end of a file goes through the cache.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                rustix::fs::fcntl_setfl(&self.0, OFlags::empty())?;
                self.0.write(bytes)
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Direct {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_any_length_and_alignment_append() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..1_u32 << 15).flat_map(u32::to_le_bytes).collect();
        let aligned = &bytes[bytes.as_ptr().align_offset(1 << 12)..];
        for first in [0, 1, 512, 1 << 12, 1 << 16] {
            let path = folder.path().join(first.to_string());
            let mut sink = Real.create(&path).unwrap();
            let (before, after) = aligned.split_at(first);
            sink.write_all(before).unwrap();
            sink.write_all(after).unwrap();
            sink.sync().unwrap();
            assert!(fs::read(&path).unwrap() == aligned, "{first} bytes and the rest");
        }
    }
}
