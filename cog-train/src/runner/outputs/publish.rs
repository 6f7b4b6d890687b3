//! Files and folders appear whole: written beside their place under a hidden name, synced, renamed last.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use super::{OUTPUT_JSON, file_name_of};
use crate::error::Error;

/// A copy that stands beside its place, and goes if it is not put there.
pub(crate) enum Staged {
    File(NamedTempFile),
    Folder(TempDir),
}

/// Copies `source`, a file or a folder, beside `place`.
pub(crate) fn stage(source: &Path, place: &Path) -> Result<Staged, Error> {
    let parent = parent_of(place);
    fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
    if source.is_dir() {
        let staged = staging_dir(&parent, place)?;
        copy_tree(source, staged.path())?;
        return Ok(Staged::Folder(staged));
    }
    let mut staged = staging_file(&parent, place)?;
    let mut file = File::open(source).map_err(Error::file("read", source))?;
    std::io::copy(&mut file, staged.as_file_mut())
        .and_then(|_| staged.as_file().sync_all())
        .map_err(Error::file("write", place))?;
    Ok(Staged::File(staged))
}

impl Staged {
    /// Puts the copy at its place.
    pub(crate) fn put(self, place: &Path) -> Result<(), Error> {
        match self {
            Self::Folder(staged) => publish_dir(staged, place),
            Self::File(staged) => {
                staged
                    .persist(place)
                    .map_err(|error| Error::file("replace", place)(error.error))?;
                sync_dir(&parent_of(place))
            }
        }
    }
}

/// Moves a staged folder to its place. A folder that only holds what this program wrote is exchanged as a whole; in any
/// other, our names are replaced one by one, `output.json` last.
pub(crate) fn publish_dir(staged: TempDir, target: &Path) -> Result<(), Error> {
    let fail = |error: std::io::Error| Error::file("replace", target)(error);
    let staged_path = staged.path().to_owned();
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::rename(&staged_path, target).map_err(fail)?;
            drop(staged.keep());
        }
        Err(error) => return Err(fail(error)),
        Ok(data) if data.is_dir() && is_ours(target) => {
            exchange(&staged_path, target).map_err(fail)?;
        }
        Ok(_) if target.is_dir() => {
            let mut names = names_in(&staged_path).map_err(fail)?;
            names.sort_by_key(|name| name == OUTPUT_JSON);
            for name in names {
                replace(&staged_path.join(&name), &target.join(&name))?;
            }
            sync_dir(target)?;
        }
        Ok(_) => {
            let reason = format!("`{}` is a file, and the output is a folder", target.display());
            return Err(Error::Output { name: "output".to_owned(), reason });
        }
    }
    sync_dir(&parent_of(target))
}

/// Puts one entry of a staged folder to its place; a folder is merged, so that nothing of others in it goes.
fn replace(from: &Path, to: &Path) -> Result<(), Error> {
    if from.is_dir() && to.is_dir() {
        for name in names_in(from).map_err(Error::file("read", from))? {
            replace(&from.join(&name), &to.join(&name))?;
        }
        return sync_dir(to);
    }
    fs::rename(from, to).map_err(Error::file("replace", to))
}

/// Two names change places in one step; the older content goes with the staging folder.
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
            // A file system that cannot exchange: below, in three steps.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP,
            ) => {}
            other => return Ok(other?),
        }
    }
    let aside = a.with_extension("old");
    fs::rename(b, &aside)?;
    if let Err(error) = fs::rename(a, b) {
        fs::rename(&aside, b)?;
        return Err(error);
    }
    fs::rename(&aside, a)
}

/// Whether the folder holds `output.json` and nothing but plain files that `output.json` names.
fn is_ours(dir: &Path) -> bool {
    let Ok(text) = fs::read(dir.join(OUTPUT_JSON)) else { return false };
    let Ok(value) = serde_json::from_slice::<Value>(&text) else { return false };
    let mut named = BTreeSet::from([OUTPUT_JSON.to_owned()]);
    collect_files("", &value, &mut named);
    let ours = |name: &String| named.contains(name) && dir.join(name).is_file();
    names_in(dir).is_ok_and(|names| names.iter().all(ours))
}

/// The files that an `output.json` names. A file has the name of its field; any other text is a value.
fn collect_files(field: &str, value: &Value, files: &mut BTreeSet<String>) {
    let inner =
        |part: &str| if field.is_empty() { part.to_owned() } else { format!("{field}.{part}") };
    match value {
        Value::String(text) => {
            let rest = text.strip_prefix(&file_name_of(field));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                files.insert(text.clone());
            }
        }
        Value::Array(items) => {
            (0..).zip(items).for_each(|(index, item): (u64, _)| {
                collect_files(&inner(&index.to_string()), item, files)
            });
        }
        Value::Object(map) => {
            map.iter().for_each(|(name, item)| collect_files(&inner(name), item, files))
        }
        _ => {}
    }
}

pub(crate) fn names_in(dir: &Path) -> std::io::Result<Vec<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn staging_name(place: &Path) -> String {
    format!(".{}.", place.file_name().unwrap_or_default().to_string_lossy())
}

pub(crate) fn staging_file(parent: &Path, place: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    let (prefix, permissions) =
        (staging_name(place), std::os::unix::fs::PermissionsExt::from_mode(0o644));
    builder.prefix(&prefix).suffix(".partial").permissions(permissions);
    builder.tempfile_in(parent).map_err(Error::file("write into", parent))
}

pub(crate) fn staging_dir(parent: &Path, place: &Path) -> Result<TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    let (prefix, permissions) =
        (staging_name(place), std::os::unix::fs::PermissionsExt::from_mode(0o755));
    builder.prefix(&prefix).suffix(".partial").permissions(permissions);
    builder.tempdir_in(parent).map_err(Error::file("write into", parent))
}

pub(crate) fn copy_synced(from: &Path, to: &Path) -> Result<(), Error> {
    if from.is_dir() {
        fs::create_dir(to).map_err(Error::file("create", to))?;
        return copy_tree(from, to);
    }
    fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()).map_err(Error::file("write", to))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
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
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::file("sync", dir))
}

pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
