//! Writes and deletes checkpoints, in an order of file operations that is safe against a crash at any point.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blocks::{Blocks, Digested};
use super::disk::{Disk, create_all, remove_tree};
use super::folder::Kind;
use super::keep::Keep;
use super::load::{EXTENSION, bad, check_sizes};
use super::manifest::{self, Entry, FileEntry, Manifest};
use super::snapshot::{HostSnapshot, HostTensor};
use crate::error::{Error, plain_io};
use crate::weights::{dtype_rank, header, write_values};

/// Writes the checkpoints of a folder and deletes old ones.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) keep: Keep,
}

/// The failure of an operation.
struct Fault {
    reason: String,
    is_disk_full: bool,
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self { reason, is_disk_full: false }
    }
}

impl Fault {
    /// Returns a closure for `map_err`.
    fn of(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            reason: format!("cannot {action} `{name}`: {}", plain_io(&error)),
            is_disk_full: matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
        }
    }
}

impl Writer {
    /// Returns the folder of the checkpoint of a step.
    pub(super) fn checkpoint_path(&self, step: u64) -> PathBuf {
        self.path(Kind::Complete, step)
    }

    fn path(&self, kind: Kind, step: u64) -> PathBuf {
        self.dir.join(kind.name(step))
    }

    /// Creates the folder and cleans up what a killed process left there.
    pub(super) fn open(&self) -> Result<(), Error> {
        create_all(&*self.disk, &self.dir).map_err(Error::file("create", &self.dir))?;
        self.clean_up().map_err(|fault| bad(&self.dir, fault.reason))
    }

    /// Writes a checkpoint. Once it is durable, deletes those that [`Keep`] does not keep.
    pub(super) fn write(&self, copy: &HostSnapshot) -> Result<(), Error> {
        let staged = self.path(Kind::Partial, copy.step);
        let written = self
            .clean_up()
            .and_then(|()| self.stage(&staged, copy))
            .and_then(|()| self.publish(&staged, copy.step));
        if let Err(fault) = written {
            // The first fault is the one to report; the next save removes what this one cannot.
            let _result = remove_tree(&*self.disk, &staged);
            return Err(self.not_written(copy.step, &fault));
        }
        self.delete_old(copy.step).map_err(|fault| {
            let step = copy.step;
            bad(&self.dir, format!("step {step} is saved, but {}", fault.reason))
        })
    }

    /// Cleans up after a killed process: removes what is partly written or partly deleted, and restores a checkpoint that
    /// was being replaced unless its replacement is there.
    fn clean_up(&self) -> Result<(), Fault> {
        let items = self.disk.list(&self.dir).map_err(Fault::of("read", "checkpoints"))?;
        let folders: Vec<(u64, Kind)> =
            items.iter().filter_map(|item| Kind::parse(&item.name)).collect();
        for &(step, kind) in &folders {
            match kind {
                Kind::Complete => {}
                Kind::Partial | Kind::Deleted => self.remove(kind, step)?,
                // A checkpoint gets its name without a dot after it is durable.
                Kind::Old if folders.contains(&(step, Kind::Complete)) => {
                    self.remove(kind, step)?;
                }
                Kind::Old => {
                    self.rename(Kind::Old, Kind::Complete, step)?;
                    self.sync()?;
                }
            }
        }
        Ok(())
    }

    /// Writes a folder under a name that is not read as a checkpoint, and syncs it.
    fn stage(&self, staged: &Path, copy: &HostSnapshot) -> Result<(), Fault> {
        let name = Kind::Partial.name(copy.step);
        self.disk.create_dir(staged).map_err(Fault::of("create", &name))?;
        let mut files = BTreeMap::new();
        for (file, tensors) in &copy.files {
            let file = format!("{file}{EXTENSION}");
            let entry = self.write_tensors(staged, &file, tensors)?;
            files.insert(file, entry);
        }
        let manifest = Manifest {
            version: manifest::VERSION,
            step: copy.step,
            best: copy.best,
            state: copy.state.clone(),
            files,
        };
        let bytes = manifest.to_bytes()?;
        self.write_file(staged, manifest::NAME, |writer| writer.write_all(&bytes))?;
        self.disk.sync_dir(staged).map_err(Fault::of("sync", &name))
    }

    fn write_tensors(
        &self,
        staged: &Path,
        file: &str,
        tensors: &BTreeMap<String, HostTensor>,
    ) -> Result<FileEntry, Fault> {
        let mut order: Vec<(&String, &HostTensor)> = tensors.iter().collect();
        order.sort_by_key(|(_, tensor)| dtype_rank(tensor.dtype));
        let header = header(
            order.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype, &*tensor.shape)),
        )
        .map_err(|reason| format!("cannot write `{file}`: {reason}"))?;
        let Digested { bytes, xxh3 } = self.write_file(staged, file, |writer| {
            writer.write_all(&header)?;
            order.iter().try_for_each(|(_, tensor)| {
                write_values(writer, &tensor.values, 0..tensor.shape.iter().product())
            })
        })?;
        let entry = |tensor: &HostTensor| Entry::new(tensor.dtype, &tensor.shape);
        let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect();
        Ok(FileEntry { bytes, xxh3, tensors })
    }

    /// Writes and syncs a file, and returns its size and digest.
    fn write_file(
        &self,
        folder: &Path,
        name: &str,
        content: impl FnOnce(&mut Blocks) -> io::Result<()>,
    ) -> Result<Digested, Fault> {
        let sink = self.disk.create(&folder.join(name)).map_err(Fault::of("create", name))?;
        let mut blocks = Blocks::new(sink);
        content(&mut blocks).and_then(|()| blocks.finish()).map_err(Fault::of("write", name))
    }

    /// Renames a staged checkpoint to its final name. One of the same step stays until then, and is restored if that fails.
    fn publish(&self, staged: &Path, step: u64) -> Result<(), Fault> {
        let path = self.checkpoint_path(step);
        let items = self.disk.list(&self.dir).map_err(Fault::of("read", "checkpoints"))?;
        let name = Kind::Complete.name(step);
        let replaces = items.iter().any(|item| item.name == name);
        if replaces {
            self.rename(Kind::Complete, Kind::Old, step)?;
        }
        if let Err(error) = self.disk.rename(staged, &path) {
            if replaces {
                let _result = self.rename(Kind::Old, Kind::Complete, step);
            }
            return Err(Fault::of("rename", &Kind::Partial.name(step))(error));
        }
        self.sync()
    }

    /// Deletes what was replaced, and the checkpoints that [`Keep`] does not keep: each is renamed first, so that one that
    /// is partly deleted is not read as a checkpoint.
    fn delete_old(&self, saved: u64) -> Result<(), Fault> {
        self.remove(Kind::Old, saved)?;
        let there = self.list_saved()?;
        let kept = self.keep.kept(there.iter().copied(), saved);
        let old: Vec<u64> =
            there.into_iter().map(|(step, _)| step).filter(|step| !kept.contains(step)).collect();
        if old.is_empty() {
            return Ok(());
        }
        for &step in &old {
            self.rename(Kind::Complete, Kind::Deleted, step)?;
        }
        self.sync()?;
        old.into_iter().try_for_each(|step| self.remove(Kind::Deleted, step))
    }

    /// Lists the checkpoints with a valid manifest and files of its sizes: the step of each, and whether it was the best so
    /// far. Others are not counted and not deleted.
    fn list_saved(&self) -> Result<Vec<(u64, bool)>, Fault> {
        let items = self.disk.list(&self.dir).map_err(Fault::of("read", "checkpoints"))?;
        let steps = items.iter().filter_map(|item| match Kind::parse(&item.name) {
            Some((step, Kind::Complete)) => Some(step),
            _ => None,
        });
        let manifests = steps.filter_map(|step| {
            let manifest = check_sizes(&*self.disk, &self.checkpoint_path(step)).ok()?;
            (manifest.step == step).then_some((step, manifest.best))
        });
        Ok(manifests.collect())
    }

    fn rename(&self, from: Kind, to: Kind, step: u64) -> Result<(), Fault> {
        let (old, new) = (self.path(from, step), self.path(to, step));
        self.disk.rename(&old, &new).map_err(Fault::of("rename", &from.name(step)))
    }

    fn remove(&self, kind: Kind, step: u64) -> Result<(), Fault> {
        remove_tree(&*self.disk, &self.path(kind, step))
            .map_err(Fault::of("remove", &kind.name(step)))
    }

    fn sync(&self) -> Result<(), Fault> {
        self.disk.sync_dir(&self.dir).map_err(Fault::of("sync", "checkpoints"))
    }

    /// Returns the error of a save, with the newest checkpoint that is still there.
    fn not_written(&self, step: u64, fault: &Fault) -> Error {
        let newest_other = |there: Vec<(u64, bool)>| {
            there.into_iter().map(|(step, _)| step).filter(|&other| other != step).max()
        };
        let older = match self.list_saved().ok().map(newest_other) {
            Some(Some(older)) => format!("; the checkpoint of step {older} is still there"),
            Some(None) => "; there is no other checkpoint".to_owned(),
            None => String::new(),
        };
        let hint = if fault.is_disk_full {
            "\nhint: free some space, or keep fewer checkpoints"
        } else {
            ""
        };
        bad(&self.checkpoint_path(step), format!("{}{older}{hint}", fault.reason))
    }
}
