//! Writing an archive's members into a folder, all or none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::compare::matches;
use super::{Kind, Limits, Member, read};
use crate::durable::{parent_of, sync_dir};
use crate::error::Error;
use crate::partial;
use crate::progress::CancelToken;

/// The names of folders that are being unpacked.
const PREFIX: &str = ".unpack-";

/// Unpacks `archive` into the new folder `target`.
///
/// The members are written into a temporary folder beside `target`, which is renamed when all of them are durable. After
/// an error neither is left; what a killed process leaves is removed by the next call. New files have mode 0644 and
/// folders 0755, less the umask.
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
    if exists(target) {
        return Err(Error::file("create", target)(io::ErrorKind::AlreadyExists.into()));
    }
    let parent = parent_of(target);
    let folder = unpack_beside(archive, parent, limits, cancel)?;
    folder.persist(target).map_err(Error::file("create", target))?;
    sync(parent)
}

/// Unpacks `archive` into `target`, unless `target` holds exactly what the archive does. Creates missing parents.
///
/// Every byte of `target` is compared with the archive: a folder that is damaged, altered or added to is replaced.
pub(crate) fn unpack_cached(
    archive: &Path,
    target: &Path,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<(), Error> {
    let parent = parent_of(target);
    fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    partial::sweep(parent, PREFIX);
    let damaged = exists(target);
    if damaged && matches(archive, target, limits, cancel)? {
        return Ok(());
    }
    let folder = unpack_beside(archive, parent, limits, cancel)?;
    if damaged {
        let removed = partial::folder(parent, PREFIX).map_err(Error::file("create", parent))?;
        match fs::rename(target, removed.path().join("damaged")) {
            // Another process has just done the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(Error::file("replace", target))?,
        }
    }
    match folder.persist(target) {
        // Another process was faster.
        Err(_) if matches(archive, target, limits, cancel)? => Ok(()),
        other => other.map_err(Error::file("create", target)).and_then(|()| sync(parent)),
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Unpacks into a new partial folder in `parent`, durably.
fn unpack_beside(
    archive: &Path,
    parent: &Path,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<partial::Folder, Error> {
    // Only this user may enter the folder while it grows, so what was checked is what is written.
    let folder = partial::folder(parent, PREFIX).map_err(Error::file("create", parent))?;
    let mut buffer = vec![0; 1 << 16];
    read(archive, limits, |member| write(member, folder.path(), &mut buffer, cancel))?;
    publish(folder.path()).map_err(Error::file("write", folder.path()))?;
    Ok(folder)
}

fn sync(folder: &Path) -> Result<(), Error> {
    sync_dir(folder).map_err(Error::file("sync", folder))
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
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::file("read", Path::new(member.name()))(error)),
        }
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path)
}

/// Lets others enter the folder, and makes all of it durable.
fn publish(folder: &Path) -> io::Result<()> {
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
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
        File::open(entry.path())?.sync_all()?;
    }
    Ok(())
}
