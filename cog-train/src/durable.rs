//! Durable names: the folder that holds a path, and its synchronization with the disk.

use std::fs::File;
use std::io;
use std::path::Path;

/// Returns the folder that holds a path: `.` for a bare name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // Other systems cannot open a folder as a file, and sync names by themselves.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
