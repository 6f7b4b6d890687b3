//! Files and folders appear whole: written beside their destination under a hidden name, synced, renamed last.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::layout::{OUTPUT_JSON, foreign_names, is_weights, own_names};
use super::manifest;
use super::ownership::is_same;
use crate::error::Error;
use crate::partial;
use crate::run::staging::{
    StagedFolder, copy_tree, names_in, parent_of, staging_dir, staging_file, staging_prefix,
    sync_dir,
};

/// The number of retries when other processes publish to the same path.
const ATTEMPTS: usize = 100;
/// The end of the name of a folder that is being replaced.
const REPLACED: &str = ".replaced";

/// A copy beside its destination. Dropping it removes it.
pub(crate) enum Staged {
    File(NamedTempFile),
    Folder(StagedFolder),
}

/// Copies `source`, a file or a folder, beside `target`.
pub(crate) fn stage(source: &Path, target: &Path) -> Result<Staged, Error> {
    let parent = parent_of(target);
    fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    if source.is_dir() {
        let staged = staging_dir(parent, target)?;
        copy_tree(source, &staged.content())?;
        return Ok(Staged::Folder(staged));
    }
    let mut staged = staging_file(parent, target)?;
    let mut file = File::open(source).map_err(Error::file("read", source))?;
    io::copy(&mut file, staged.as_file_mut())
        .and_then(|_| staged.as_file().sync_all())
        .map_err(Error::file("write", target))?;
    Ok(Staged::File(staged))
}

impl Staged {
    /// Refuses a target in a folder where a file of another content has the name, or other weights are beside it.
    pub(crate) fn refuse_foreign(
        &self,
        target: &Path,
        is_ours: impl Fn(&Path) -> bool,
    ) -> Result<(), Error> {
        let Self::File(file) = self else { return Ok(()) };
        let (folder, name) = (parent_of(target), target.file_name().unwrap_or_default());
        let name = name.to_string_lossy();
        if target.is_file() && is_same(file.path(), target).map_err(Error::file("read", target))? {
            return Ok(());
        }
        refuse_foreign(folder, |foreign| {
            (foreign == name || (is_weights(foreign) && is_weights(&name)))
                && !is_ours(&folder.join(foreign))
        })
    }

    /// Renames the copy to `target`.
    pub(crate) fn publish(self, target: &Path, force: bool) -> Result<(), Error> {
        match self {
            Self::Folder(staged) => publish_dir(&staged, target, force),
            Self::File(staged) => {
                staged
                    .persist(target)
                    .map_err(|error| Error::file("replace", target)(error.error))?;
                sync_dir(parent_of(target))
            }
        }
    }
}

/// Renames a staged folder to `target`. A folder that holds only what this program wrote is exchanged as a whole; in any
/// other, our names are replaced one by one, `output.json` last, and foreign files stay unless `force` is given.
pub(crate) fn publish_dir(staged: &StagedFolder, target: &Path, force: bool) -> Result<(), Error> {
    let content = staged.content();
    let fail = |error: io::Error| Error::file("replace", target)(error);
    for attempt in 1.. {
        // Another process may publish to the same path between a look and a rename.
        let retry = |error: &io::Error| {
            let raced =
                [ErrorKind::NotFound, ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty];
            raced.contains(&error.kind()) && attempt < ATTEMPTS
        };
        let renamed = match fs::symlink_metadata(target) {
            Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(&content, target),
            Err(error) => Err(error),
            Ok(data) if data.is_dir() && is_ours(target) => {
                exchange(&content, target).and_then(|()| rescue_foreign(&content, target))
            }
            Ok(_) if target.is_dir() => {
                merge_into(&content, target, force)?;
                Ok(())
            }
            Ok(_) => {
                let reason =
                    format!("`{}` is a file, and the output is a folder", target.display());
                return Err(Error::Output { name: "output".to_owned(), reason });
            }
        };
        match renamed {
            Ok(()) => break,
            Err(error) if retry(&error) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    sync_dir(parent_of(target))
}

/// Adds the names of `content` to a folder that holds foreign names too.
fn merge_into(content: &Path, target: &Path, force: bool) -> Result<(), Error> {
    let mut names = names_in(content).map_err(Error::file("read", content))?;
    names.sort_by_key(|name| name == OUTPUT_JSON);
    if !force {
        refuse_foreign(target, |foreign| {
            names.iter().any(|name| name == foreign)
                || (is_weights(foreign) && names.iter().any(|name| is_weights(name)))
        })?;
    }
    manifest::remove_stale(target, content)?;
    for name in &names {
        replace(&content.join(name), &target.join(name))?;
    }
    sync_dir(target)
}

/// Refuses a folder in which somebody else's file is in the way.
pub(crate) fn refuse_foreign(
    target: &Path,
    is_in_the_way: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let foreign = foreign_names(target).map_err(Error::file("read", target))?;
    match foreign.iter().find(|name| is_in_the_way(name)) {
        Some(name) => Err(self::foreign(target, name)),
        None => Ok(()),
    }
}

/// The error for somebody else's file in a folder.
pub(crate) fn foreign(target: &Path, name: &str) -> Error {
    let what = if is_weights(name) {
        "holds other weights"
    } else {
        "holds a file that this program did not write"
    };
    Error::Arguments {
        reason: format!(
            "`-o {}` {what}: `{}`\nhint: name another folder with `-o`, or replace with `--force`",
            target.display(),
            crate::error::printable_name(name)
        ),
    }
}

/// Renames one entry of a staged folder to its destination; a folder is merged, so that nothing of others in it is lost.
fn replace(from: &Path, to: &Path) -> Result<(), Error> {
    if from.is_dir() && to.is_dir() {
        for name in names_in(from).map_err(Error::file("read", from))? {
            replace(&from.join(&name), &to.join(&name))?;
        }
        return sync_dir(to);
    }
    fs::rename(from, to).map_err(Error::file("replace", to))
}

/// Exchanges two names in one step where the file system can, else in three.
fn exchange(new: &Path, target: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
            // A file system that cannot exchange.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP,
            ) => {}
            other => return Ok(other?),
        }
    }
    exchange_in_steps(new, target)
}

/// Exchanges two names by three renames. [`recover`] undoes the first if the process is killed after it.
pub(super) fn exchange_in_steps(new: &Path, target: &Path) -> io::Result<()> {
    // The lock says that the process lives; it follows the folder through its renames.
    let lock = File::open(target)?;
    let _unsupported = lock.try_lock();
    let name = format!("{}{}{REPLACED}", staging_prefix(target), std::process::id());
    let aside = parent_of(target).join(name);
    fs::rename(target, &aside)?;
    if let Err(error) = fs::rename(new, target) {
        fs::rename(&aside, target)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

/// Cleans up after processes that were killed while they published to `target`: a folder that was renamed away and not
/// replaced is put back, and partial copies are removed.
pub(crate) fn recover(target: &Path) -> Result<(), Error> {
    let (parent, prefix) = (parent_of(target), staging_prefix(target));
    partial::sweep(parent, &prefix);
    let Ok(names) = names_in(parent) else { return Ok(()) };
    for name in names {
        let process = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix(REPLACED));
        if process.is_none_or(|id| id.parse::<u32>().is_err()) {
            continue;
        }
        let aside = parent.join(&name);
        let Ok(folder) = File::open(&aside) else { continue };
        if folder.try_lock().is_err() {
            continue;
        }
        if target.exists() {
            if is_ours(&aside) {
                let _ = fs::remove_dir_all(&aside);
            }
        } else {
            fs::rename(&aside, target).map_err(Error::file("create", target))?;
        }
    }
    Ok(())
}

/// Moves files that appeared in the replaced folder after it was looked at into the new one.
pub(super) fn rescue_foreign(old: &Path, target: &Path) -> io::Result<()> {
    let own = own_names(old);
    for name in names_in(old)? {
        if !own.contains(&name) {
            fs::rename(old.join(&name), free_name(target, &name))?;
        }
    }
    Ok(())
}

/// Returns a path in `dir` that is not taken: `NAME`, else `NAME.1` and so on.
fn free_name(dir: &Path, name: &str) -> PathBuf {
    let numbered = (1..).map(|number: u64| dir.join(format!("{name}.{number}")));
    std::iter::once(dir.join(name))
        .chain(numbered)
        .find(|path| fs::symlink_metadata(path).is_err())
        .expect("a number that is not taken is found")
}

/// Whether the folder holds `output.json` and nothing but what `output.json` names: plain files, and folders with the files of the
/// manifest.
pub(super) fn is_ours(dir: &Path) -> bool {
    let own = own_names(dir);
    let ours = |name: &String| {
        let path = dir.join(name);
        own.contains(name) && (path.is_file() || (path.is_dir() && manifest::has_all(dir, name)))
    };
    !own.is_empty() && names_in(dir).is_ok_and(|names| names.iter().all(ours))
}
