//! A repository's part of the cache. Nothing in it is followed or written through a link that leads out of the cache.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::select::is_safe;
use crate::error::{Error, printable};
use crate::fetch::{self, write_atomic};
use crate::progress::CancelToken;
use crate::read;

/// The file that makes backups leave a folder out, and its content.
const TAG: (&str, &str) = ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
/// The most folders in a folder of a snapshot.
const NESTED: usize = 32;

pub(super) struct RepoCache {
    root: PathBuf,
    /// `models--org--name`.
    name: String,
}

/// Returns whether a revision is a commit, whose files never change.
pub(super) fn is_commit(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 40 && text.bytes().all(digit)
}

/// Returns the names of the repositories in a cache.
pub(super) fn repositories(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix("models--")?.replace("--", "/"))
    };
    entries.flatten().filter_map(name).collect()
}

impl RepoCache {
    pub(super) fn new(root: &Path, id: &str) -> Self {
        Self { root: root.to_owned(), name: format!("models--{}", id.replace('/', "--")) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    /// Returns the commit that a revision had when it was last downloaded.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let reference = fs::read_to_string(self.folder().join("refs").join(revision)).ok()?;
        Some(reference.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Returns the files of a commit as Python's listing has them; `None` when there is no listing.
    pub(super) fn tree(&self, commit: &str) -> Option<Vec<String>> {
        let text = read::file(
            &self.folder().join("trees").join(format!("{commit}.json")),
            read::JSON_BYTES,
        )
        .ok()?;
        let tree: serde_json::Value = serde_json::from_slice(&text).ok()?;
        if tree.get("format_version")?.as_u64() != Some(1) {
            return None;
        }
        Some(tree.get("files")?.as_object()?.keys().cloned().collect())
    }

    /// Returns the files of a snapshot that are there.
    pub(super) fn files(&self, commit: &str) -> Vec<String> {
        fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) {
            let Ok(entries) = fs::read_dir(folder) else { return };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = format!("{prefix}{name}");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth < NESTED => {
                        walk(&entry.path(), &format!("{name}/"), depth + 1, found);
                    }
                    // A link whose content is gone is no file.
                    Ok(kind) if !kind.is_dir() && entry.path().exists() => found.push(name),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.snapshot(commit), "", 0, &mut found);
        found.sort();
        found
    }

    /// Returns whether a snapshot has a file.
    pub(super) fn has(&self, commit: &str, name: &str) -> Result<bool, Error> {
        Ok(self.inside(&self.snapshot(commit).join(name))?.is_some())
    }

    /// Returns whether the content of a tag is there, with this size if it is known.
    pub(super) fn has_blob(&self, etag: &str, size: Option<u64>) -> Result<bool, Error> {
        let Some(blob) = self.inside(&self.blob(etag))? else { return Ok(false) };
        let found = blob.metadata().map_err(Error::file("read", &blob))?.len();
        Ok(size.is_none_or(|size| size == found))
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(etag)
    }

    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Resolves a path to the file that it stands for; `None` when there is no such file.
    fn inside(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        // The folder of a repository may itself be a link, to a larger disk.
        let is_inside = [&self.root, &self.folder()]
            .into_iter()
            .filter_map(|folder| fs::canonicalize(folder).ok())
            .any(|folder| real.starts_with(folder));
        if !is_inside {
            return Err(outside(path));
        }
        Ok(real.is_file().then_some(real))
    }

    /// Creates the folders of a commit.
    pub(super) fn prepare(&self, commit: &str) -> Result<(), Error> {
        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let tag = self.root.join(TAG.0);
        if !tag.exists() {
            // Of use to backups alone.
            let _ = fs::write(tag, TAG.1);
        }
        make(&self.root, &format!(".locks/{}", self.name))?;
        make(&folder, "blobs")?;
        make(&folder, &format!("snapshots/{commit}"))
    }

    /// Locks the content of a tag against the processes of either side.
    pub(super) fn lock(&self, etag: &str, cancel: &CancelToken) -> Result<File, Error> {
        let path = self.root.join(".locks").join(&self.name).join(format!("{etag}.lock"));
        fetch::lock(&path, cancel)
    }

    /// Links a file of a snapshot to the content of a tag.
    pub(super) fn link(&self, etag: &str, commit: &str, name: &str) -> Result<(), Error> {
        let (folder, depth) = match name.rsplit_once('/') {
            Some((folder, _)) => (format!("snapshots/{commit}/{folder}"), name.split('/').count()),
            None => (format!("snapshots/{commit}"), 1),
        };
        make(&self.folder(), &folder)?;
        let path = self.snapshot(commit).join(name);
        let target = format!("{}blobs/{etag}", "../".repeat(depth + 1));
        match symlink(&target, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Another process made it, or its content was gone.
                if !self.has(commit, name)? {
                    fs::remove_file(&path).map_err(Error::file("replace", &path))?;
                    symlink(&target, &path).map_err(Error::file("create", &path))?;
                }
                Ok(())
            }
            // A file system without links gets a copy.
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
            {
                fs::copy(self.blob(etag), &path).map(drop).map_err(Error::file("create", &path))
            }
            made => made.map_err(Error::file("create", &path)),
        }
    }

    /// Records the commit that a revision has.
    pub(super) fn write_reference(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = format!("refs/{revision}");
        let parent = path.rsplit_once('/').map_or("refs", |(parent, _)| parent);
        make(&self.folder(), parent)?;
        let folder = self.folder();
        write_atomic(&folder.join(parent), &folder.join(&path), commit.as_bytes())
    }

    /// Records that a commit does not have a file. It saves the other side a request, so failures do not count.
    pub(super) fn record_absence(&self, commit: &str, name: &str) {
        if !self.folder().is_dir() || !is_safe(name) {
            return;
        }
        let path = format!(".no_exist/{commit}/{name}");
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if make(&self.folder(), parent).is_ok() {
            let _ = File::create_new(self.folder().join(&path));
        }
    }
}

fn outside(path: &Path) -> Error {
    let reason = io::Error::other("a link in it leads out of the cache");
    Error::file("use", path)(reason)
}

/// Creates the folders of a relative path in `base`. None of them may be a link.
fn make(base: &Path, path: &str) -> Result<(), Error> {
    let mut folder = base.to_owned();
    for part in path.split('/') {
        folder.push(part);
        match fs::create_dir(&folder) {
            Ok(()) => continue,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("create", &folder)(error)),
        }
        let found = fs::symlink_metadata(&folder).map_err(Error::file("read", &folder))?;
        if found.is_symlink() {
            return Err(outside(&folder));
        }
        if !found.is_dir() {
            let reason = io::Error::from(ErrorKind::NotADirectory);
            return Err(Error::file("create", &folder)(reason));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn symlink(_target: &str, _path: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// A path for messages.
pub(super) fn shown(path: &Path) -> String {
    printable(path.display())
}
