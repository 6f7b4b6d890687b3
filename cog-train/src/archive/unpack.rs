//! Writing an archive's members into a folder, all or none.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use super::{Kind, Limits, Member, read};
use crate::error::Error;
use crate::progress::CancelToken;

/// Unpacks `archive` into the new folder `target`.
///
/// The members are written into a temporary folder beside `target`, which takes its name when all of them are there and
/// on the disk. After an error neither is left. Files are made anew with mode 0644 and folders with 0755, less the
/// umask.
///
/// ```no_run
/// use cog_train::CancelToken;
/// use cog_train::archive::{Limits, unpack};
///
/// unpack("weights.tar".as_ref(), "weights".as_ref(), &Limits::default(), &CancelToken::new())?;
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`read`]; [`Error::File`] when `target` is there already or something cannot be written;
/// [`Error::Cancelled`].
pub fn unpack(
    archive: &Path,
    target: &Path,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<(), Error> {
    if target.exists() {
        return Err(Error::file("create", target)(std::io::ErrorKind::AlreadyExists.into()));
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Nobody else may enter the folder while it grows, so what was checked is what is written.
    let folder = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(parent)
        .map_err(Error::file("create", parent))?;
    let mut buffer = vec![0; 1 << 16];
    read(archive, limits, |member| write(member, folder.path(), &mut buffer, cancel))?;
    settle(folder.path()).map_err(Error::file("write", folder.path()))?;
    fs::rename(folder.path(), target).map_err(Error::file("create", target))?;
    // It has the target's name now; its guard must not look for it under the old one.
    let _gone = folder.keep();
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::file("write", parent))
}

fn write(
    member: &mut Member<'_>,
    folder: &Path,
    buffer: &mut [u8],
    cancel: &CancelToken,
) -> Result<(), Error> {
    cancel.check()?;
    let path = folder.join(member.name());
    if member.kind() == Kind::Folder {
        return fs::create_dir_all(&path).map_err(Error::file("create", &path));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    let mut file = new_file(&path).map_err(Error::file("create", &path))?;
    loop {
        cancel.check()?;
        match member.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                file.write_all(&buffer[..count]).map_err(Error::file("write", &path))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::file("read", Path::new(member.name()))(error)),
        }
    }
}

fn new_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path)
}

/// Opens the temporary folder to others and brings all of it to the disk.
fn settle(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let root = File::open(folder)?;
    // One call for the whole file system: an archive may hold a hundred thousand files.
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&root)?;
    #[cfg(not(target_os = "linux"))]
    sync_tree(folder)?;
    root.sync_all()
}

#[cfg(not(target_os = "linux"))]
fn sync_tree(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
        File::open(entry.path())?.sync_all()?;
    }
    Ok(())
}
