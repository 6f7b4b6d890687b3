//! Finds the newest complete checkpoint and reads it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use twox_hash::XxHash3_128;

use super::disk::{Disk, Real};
use super::folder::Kind;
use super::manifest::{self, FileEntry, Manifest};
use crate::error::{Error, counted, plain_io, printable};
use crate::read;
use crate::weights::Weights;

/// The size of a read in bytes.
const READ_SIZE: usize = 1 << 20;
/// The extension of the tensor files.
pub(super) const EXTENSION: &str = ".safetensors";

/// The result of [`newest`], whose example uses one.
#[derive(Debug)]
pub struct Found {
    /// The newest complete checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are damaged, with the reasons.
    pub passed_over: Vec<(PathBuf, String)>,
}

/// Finds the newest checkpoint of a folder whose files all have the sizes and digests in its manifest.
///
/// A folder that does not exist holds no checkpoint. Changes nothing.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::checkpoint::{Checkpoints, Keep, Snapshot, newest};
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("checkpoints");
/// let mut checkpoints = Checkpoints::open(&dir, Keep::default())?;
/// for step in [10, 20] {
///     let scale = Tensor::new(&[step as f32], &Device::Cpu)?;
///     let files = BTreeMap::from([("weights".to_owned(), BTreeMap::from([("scale".to_owned(), scale)]))]);
///     checkpoints.save(Snapshot { step, state: serde_json::json!({}), files, best: false })?;
/// }
/// checkpoints.finish()?;
/// std::fs::write(dir.join("step-000020/weights.safetensors"), "damaged")?;
///
/// let found = newest(&dir)?;
/// let checkpoint = found.checkpoint.expect("one of the two is complete");
/// assert_eq!(checkpoint.step(), 10);
/// assert_eq!(checkpoint.tensors("weights", &Device::Cpu)?["scale"].to_vec1::<f32>()?, [10.0]);
/// let (path, reason) = &found.passed_over[0];
/// assert!(path.ends_with("step-000020") && reason.contains("`weights.safetensors` has 7 bytes"));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::File`] when the folder cannot be read.
pub fn newest(dir: &Path) -> Result<Found, Error> {
    newest_on(&Real, dir)
}

pub(super) fn newest_on(disk: &dyn Disk, dir: &Path) -> Result<Found, Error> {
    let items = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        items => items.map_err(Error::file("read", dir))?,
    };
    let mut order: Vec<(u64, Kind)> = items
        .iter()
        .filter_map(|item| Kind::parse(&item.name))
        .filter(|(_, kind)| matches!(kind, Kind::Complete | Kind::Old))
        .collect();
    order.sort();
    let mut passed_over = Vec::new();
    for (step, kind) in order.into_iter().rev() {
        let path = dir.join(kind.name(step));
        match verify(disk, &path) {
            Ok(manifest) if manifest.step == step => {
                let checkpoint = Some(Checkpoint { path, manifest });
                return Ok(Found { checkpoint, passed_over });
            }
            Ok(manifest) => {
                passed_over.push((path, format!("its manifest is of step {}", manifest.step)));
            }
            Err(reason) => passed_over.push((path, reason)),
        }
    }
    Ok(Found { checkpoint: None, passed_over })
}

/// A tensor file of a checkpoint.
#[cfg(feature = "cli")]
pub(crate) struct Digested<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: u64,
    /// XXH3 of 128 bits, in lower-case hex.
    pub(crate) xxh3: &'a str,
}

/// A checkpoint that was complete when it was opened.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens the checkpoint in a folder and verifies it.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] with the reason when it is damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        match verify(&Real, path) {
            Ok(manifest) => Ok(Self { path: path.to_owned(), manifest }),
            Err(reason) => Err(bad(path, reason)),
        }
    }

    /// Returns the step that it was saved at.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.manifest.step
    }

    /// Returns its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the state that was saved, with its numbers bit for bit.
    #[must_use]
    pub fn state(&self) -> &Value {
        &self.manifest.state
    }

    /// Returns whether it was the best so far when it was saved.
    #[must_use]
    pub fn is_best(&self) -> bool {
        self.manifest.best
    }

    /// Returns the names of its tensor files as in the snapshot, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.manifest.files.keys().filter_map(|name| name.strip_suffix(EXTENSION))
    }

    /// Returns the sizes and digests of its tensor files, which were verified when it was opened.
    #[cfg(feature = "cli")]
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digested<'_>> {
        let files = self.manifest.files.iter();
        files.filter_map(|(name, entry)| {
            let name = name.strip_suffix(EXTENSION)?;
            Some(Digested { name, bytes: entry.bytes, xxh3: &entry.xxh3 })
        })
    }

    /// Reads the tensors of a file by name, with the dtypes that they were saved with, into storage of their own.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when there is no such file, [`Error::Weights`] or [`Error::File`] when it has changed since
    /// it was verified, [`Error::Tensor`].
    pub fn tensors(&self, file: &str, device: &Device) -> Result<BTreeMap<String, Tensor>, Error> {
        let name = format!("{file}{EXTENSION}");
        if !self.manifest.files.contains_key(&name) {
            let there: Vec<String> = self.files().map(|file| format!("`{file}`")).collect();
            return Err(bad(
                &self.path,
                format!("there is no `{file}` in it, but {}", there.join(", ")),
            ));
        }
        Weights::open_file(&self.path.join(name))?.tensors(device)
    }
}

/// Returns an error about the checkpoint at a path.
pub(super) fn bad(path: &Path, reason: String) -> Error {
    Error::Checkpoint { location: path.display().to_string(), reason }
}

/// Reads all files of a checkpoint and compares them with its manifest.
fn verify(disk: &dyn Disk, path: &Path) -> Result<Manifest, String> {
    let manifest = check_sizes(disk, path)?;
    for (name, entry) in &manifest.files {
        check_digest(disk, path, name, entry)?;
    }
    Ok(manifest)
}

/// Reads the manifest, and checks that the files that it lists and no others are there with their sizes.
pub(super) fn check_sizes(disk: &dyn Disk, path: &Path) -> Result<Manifest, String> {
    let items = disk.list(path).map_err(|error| plain_io(&error))?;
    if !items.iter().any(|item| item.name == manifest::NAME) {
        return Err(format!("there is no `{}`", manifest::NAME));
    }
    let bytes = disk
        .open(&path.join(manifest::NAME))
        .and_then(|file| read::bytes(file, read::JSON_BYTES))
        .map_err(cannot_read(manifest::NAME))?;
    let manifest = Manifest::from_bytes(&bytes)?;
    for (name, entry) in &manifest.files {
        let item = items.iter().find(|item| item.name == *name);
        let bytes = item.ok_or_else(|| format!("`{name}` is missing"))?.bytes;
        if bytes != entry.bytes {
            return Err(format!(
                "`{name}` has {} instead of {}",
                counted(bytes, "byte"),
                entry.bytes
            ));
        }
    }
    let known =
        |name: &String| name == manifest::NAME || manifest.files.contains_key(name.as_str());
    match items.iter().find(|item| !known(&item.name)) {
        Some(item) => Err(format!("`{}` does not belong to it", printable(&item.name))),
        None => Ok(manifest),
    }
}

fn check_digest(disk: &dyn Disk, path: &Path, name: &str, entry: &FileEntry) -> Result<(), String> {
    let failed = || cannot_read(name);
    let mut file = disk.open(&path.join(name)).map_err(failed())?;
    let (mut digest, mut buffer) = (XxHash3_128::new(), vec![0; READ_SIZE]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => digest.write(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    if manifest::hex(&digest) != entry.xxh3 {
        return Err(format!("`{name}` is damaged: its digest is not the manifest's"));
    }
    Ok(())
}

fn cannot_read(name: &str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("cannot read `{name}`: {}", plain_io(&error))
}
