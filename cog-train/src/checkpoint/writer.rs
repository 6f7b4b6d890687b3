//! The order of file operations that keeps the promise: what was saved stays, whatever stops the program.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::disk::{Disk, Sink, create_all, remove_tree};
use super::host::{Host, HostTensor};
use super::load::{EXTENSION, bad, glance, verify};
use super::manifest::{self, Entry, Manifest, Part};
use super::{Keep, Kind};
use crate::error::{Error, plain_io};
use crate::fetch::hex;
use crate::weights::{header, place_of, write_values};

/// How many bytes go to the disk at a time.
const PIECE: usize = 1 << 20;

/// Writes checkpoints into a folder and deletes old ones.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) keep: Keep,
}

/// Why an operation did not work.
struct Fault {
    reason: String,
    /// Whether the disk is full.
    full: bool,
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self { reason, full: false }
    }
}

impl Fault {
    /// A maker for `map_err`.
    fn of(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            reason: format!("cannot {action} `{name}`: {}", plain_io(&error)),
            full: matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
        }
    }
}

impl Writer {
    /// The folder of a step's checkpoint.
    pub(super) fn place(&self, step: u64) -> PathBuf {
        self.path(Kind::Whole, step)
    }

    fn path(&self, kind: Kind, step: u64) -> PathBuf {
        self.dir.join(kind.name(step))
    }

    /// Makes the folder, and settles what an earlier process left there.
    pub(super) fn open(&self) -> Result<(), Error> {
        create_all(&*self.disk, &self.dir).map_err(Error::file("create", &self.dir))?;
        self.settle().map_err(|fault| bad(&self.dir, fault.reason))
    }

    /// Writes a checkpoint; when it is on the disk, deletes those that need not stay.
    pub(super) fn write(&self, host: &Host) -> Result<(), Error> {
        let staged = self.path(Kind::Partial, host.step);
        let written = self
            .settle()
            .and_then(|()| self.stage(&staged, host))
            .and_then(|()| self.publish(&staged, host.step));
        if let Err(fault) = written {
            // The first fault is the one to tell; what cannot be removed now is removed by the next save.
            let _result = remove_tree(&*self.disk, &staged);
            return Err(self.not_written(host.step, &fault));
        }
        self.retire(host.step).map_err(|fault| {
            let step = host.step;
            bad(&self.dir, format!("step {step} is saved, but {}", fault.reason))
        })
    }

    /// Puts what a stopped process left into order: what was half-written or half-deleted goes, and what was to be
    /// replaced is back unless its successor is there.
    fn settle(&self) -> Result<(), Fault> {
        let items = self.disk.list(&self.dir).map_err(Fault::of("read", "checkpoints"))?;
        let there: Vec<(u64, Kind)> =
            items.iter().filter_map(|item| Kind::of(&item.name)).collect();
        for &(step, kind) in &there {
            match kind {
                Kind::Whole => {}
                Kind::Partial | Kind::Deleted => self.remove(kind, step)?,
                // A name without a dot was given after all was on the disk and had been read back.
                Kind::Old if there.contains(&(step, Kind::Whole)) => self.remove(kind, step)?,
                Kind::Old => {
                    self.rename(Kind::Old, Kind::Whole, step)?;
                    self.sync()?;
                }
            }
        }
        Ok(())
    }

    /// Writes a folder under a name that is not taken for a checkpoint, and reads all of it back.
    fn stage(&self, staged: &Path, host: &Host) -> Result<(), Fault> {
        let name = Kind::Partial.name(host.step);
        self.disk.create_dir(staged).map_err(Fault::of("create", &name))?;
        let mut files = BTreeMap::new();
        for (file, tensors) in &host.files {
            let file = format!("{file}{EXTENSION}");
            let part = self.write_tensors(staged, &file, tensors)?;
            files.insert(file, part);
        }
        let manifest = Manifest {
            version: manifest::VERSION,
            step: host.step,
            best: host.best,
            state: host.state.clone(),
            files,
        };
        let bytes = manifest.to_bytes()?;
        self.write_file(staged, manifest::NAME, |writer| writer.write_all(&bytes))?;
        self.disk.sync_dir(staged).map_err(Fault::of("sync", &name))?;
        verify(&*self.disk, staged).map_err(|reason| format!("reads back wrong: {reason}"))?;
        Ok(())
    }

    fn write_tensors(
        &self,
        staged: &Path,
        file: &str,
        tensors: &BTreeMap<String, HostTensor>,
    ) -> Result<Part, Fault> {
        let mut order: Vec<(&String, &HostTensor)> = tensors.iter().collect();
        order.sort_by_key(|(_, tensor)| place_of(tensor.dtype));
        let header = header(
            order.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype, &*tensor.shape)),
        )
        .map_err(|reason| format!("cannot write `{file}`: {reason}"))?;
        let (bytes, sha256) = self.write_file(staged, file, |writer| {
            writer.write_all(&header)?;
            order.iter().try_for_each(|(_, tensor)| {
                write_values(writer, &tensor.values, 0..tensor.shape.iter().product())
            })
        })?;
        let entry = |tensor: &HostTensor| Entry::new(tensor.dtype, &tensor.shape);
        let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect();
        Ok(Part { bytes, sha256, tensors })
    }

    /// Writes a file, brings it to the disk, and tells its size and its digest.
    fn write_file(
        &self,
        folder: &Path,
        name: &str,
        content: impl FnOnce(&mut BufWriter<Hashing>) -> io::Result<()>,
    ) -> Result<(u64, String), Fault> {
        let sink = self.disk.create(&folder.join(name)).map_err(Fault::of("create", name))?;
        let hashing = Hashing { sink, digest: Sha256::new(), bytes: 0 };
        let mut writer = BufWriter::with_capacity(PIECE, hashing);
        content(&mut writer).map_err(Fault::of("write", name))?;
        let mut hashing =
            writer.into_inner().map_err(|error| Fault::of("write", name)(error.into_error()))?;
        hashing.sink.sync().map_err(Fault::of("write", name))?;
        Ok((hashing.bytes, hex(hashing.digest.finalize())))
    }

    /// Gives a staged checkpoint its name. One of the same step stays until then, and beyond if that fails.
    fn publish(&self, staged: &Path, step: u64) -> Result<(), Fault> {
        let place = self.place(step);
        let items = self.disk.list(&self.dir).map_err(Fault::of("read", "checkpoints"))?;
        let name = Kind::Whole.name(step);
        let again = items.iter().any(|item| item.name == name);
        if again {
            self.rename(Kind::Whole, Kind::Old, step)?;
        }
        if let Err(error) = self.disk.rename(staged, &place) {
            if again {
                let _result = self.rename(Kind::Old, Kind::Whole, step);
            }
            return Err(Fault::of("rename", &Kind::Partial.name(step))(error));
        }
        self.sync()
    }

    /// Deletes what was replaced, and the checkpoints that need not stay, each under a name that is not taken for one.
    fn retire(&self, saved: u64) -> Result<(), Fault> {
        self.remove(Kind::Old, saved)?;
        let there = self.there()?;
        let stays = self.keep.stays(there.iter().copied(), saved);
        let goes: Vec<u64> =
            there.into_iter().map(|(step, _)| step).filter(|step| !stays.contains(step)).collect();
        if goes.is_empty() {
            return Ok(());
        }
        for &step in &goes {
            self.rename(Kind::Whole, Kind::Deleted, step)?;
        }
        self.sync()?;
        goes.into_iter().try_for_each(|step| self.remove(Kind::Deleted, step))
    }

    /// The checkpoints that are there by their manifests, with whether each was the best so far. Others are none of ours
    /// to count or delete.
    fn there(&self) -> Result<Vec<(u64, bool)>, Fault> {
        let items = self.disk.list(&self.dir).map_err(Fault::of("read", "checkpoints"))?;
        let steps = items.iter().filter_map(|item| match Kind::of(&item.name) {
            Some((step, Kind::Whole)) => Some(step),
            _ => None,
        });
        let manifests = steps.filter_map(|step| {
            let manifest = glance(&*self.disk, &self.place(step)).ok()?;
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

    /// The error of a save, with what is still there.
    fn not_written(&self, step: u64, fault: &Fault) -> Error {
        let others = |there: Vec<(u64, bool)>| {
            there.into_iter().map(|(step, _)| step).filter(|&other| other != step).max()
        };
        let older = self.there().ok().map(others);
        let older = match older {
            Some(Some(older)) => format!("; the checkpoint of step {older} is still there"),
            Some(None) => "; there is no other checkpoint".to_owned(),
            None => String::new(),
        };
        let hint =
            if fault.full { "\nhint: free some space, or keep fewer checkpoints" } else { "" };
        bad(&self.place(step), format!("{}{older}{hint}", fault.reason))
    }
}

/// A file that digests what goes into it.
struct Hashing {
    sink: Box<dyn Sink>,
    digest: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
