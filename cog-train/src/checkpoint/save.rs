//! Saves checkpoints: a copy of the tensors at the step, written by a thread of its own.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::disk::{Disk, Real};
use super::keep::Keep;
use super::load::bad;
use super::snapshot::{AddTensor, Buffer, Header, HostSnapshot, Snapshot};
use super::writer::Writer;
use crate::error::Error;

/// The checkpoints of a run, in a folder of their own that no other process writes to.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::checkpoint::{self, Checkpoints, Keep, Snapshot};
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("checkpoints");
/// let scale = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// let files = BTreeMap::from([("weights".to_owned(), BTreeMap::from([("scale".to_owned(), scale)]))]);
/// let state = serde_json::json!({"lr": 0.1});
///
/// let mut checkpoints = Checkpoints::open(&dir, Keep { last: 2, best: true })?;
/// checkpoints.save(Snapshot { step: 120, state, files, best: false })?; // copied; a thread writes it
/// checkpoints.finish()?; // durable
///
/// let found = checkpoint::newest(&dir)?.checkpoint.expect("one was saved");
/// assert_eq!((found.step(), &found.state()["lr"]), (120, &serde_json::json!(0.1)));
/// assert_eq!(found.tensors("weights", &Device::Cpu)?["scale"].to_vec1::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Checkpoints {
    writer: Arc<Writer>,
    /// The save that is being written, or whose result has not been returned yet.
    running: Option<JoinHandle<Written>>,
    /// The memory of the last copy, for the next one.
    buffer: Buffer,
}

/// The result of a thread that wrote a checkpoint.
struct Written {
    copy: HostSnapshot,
    result: Result<(), Error>,
}

impl Checkpoints {
    /// Opens a folder for checkpoints. Creates it if it does not exist, and cleans up what a killed process left there.
    ///
    /// Read what [`newest`](super::newest) found before this call: it may rename that folder.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when `keep` keeps no checkpoint, [`Error::File`] when the folder cannot be created,
    /// [`Error::Checkpoint`] when it cannot be cleaned up.
    pub fn open(dir: &Path, keep: Keep) -> Result<Self, Error> {
        Self::open_on(Arc::new(Real), dir, keep)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, dir: &Path, keep: Keep) -> Result<Self, Error> {
        if keep.last == 0 {
            let reason = "0 checkpoints are to be kept, and at least 1 must be".to_owned();
            return Err(Error::InvalidConfig { reason });
        }
        let writer = Arc::new(Writer { disk, dir: dir.to_owned(), keep });
        writer.open()?;
        Ok(Self { writer, running: None, buffer: Buffer::default() })
    }

    /// Copies a snapshot to host memory and starts to write it on another thread.
    ///
    /// The tensors may change as soon as this returns. Waits first for an earlier save that is still being written, so
    /// that save is durable when this returns without an error.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] of the earlier save, in which case this one was not started; [`Error::Checkpoint`] or
    /// [`Error::InvalidConfig`] for names and types that no file can have; [`Error::Tensor`] when tensors cannot be copied.
    pub fn save(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.save_after(snapshot, || Ok(()))
    }

    /// [Saves](Self::save) a snapshot after `prerequisite`, as [`save_with`](Self::save_with).
    pub(super) fn save_after(
        &mut self,
        snapshot: Snapshot,
        prerequisite: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let Snapshot { step, state, files, best } = snapshot;
        let header = Header { step, state, best, files: files.keys().cloned().collect() };
        let fill = |add: &mut AddTensor<'_>| {
            let mut all = files.iter().flat_map(|(file, tensors)| {
                tensors.iter().map(move |(name, tensor)| (file, name, tensor))
            });
            all.try_for_each(|(file, name, tensor)| add(file, name, tensor))
        };
        self.save_with(header, fill, prerequisite)
    }

    /// [Saves](Self::save) the tensors that `fill` hands over, one by one, after `prerequisite`, which runs on the writer
    /// thread. No checkpoint appears if one of the two fails.
    ///
    /// # Errors
    ///
    /// Those of [`save`](Self::save) and of `fill`. The error of `prerequisite` is that of the next call, as all of the writer
    /// thread.
    pub(crate) fn save_with(
        &mut self,
        header: Header,
        fill: impl FnOnce(&mut AddTensor<'_>) -> Result<(), Error>,
        prerequisite: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.finish()?;
        let path = self.writer.checkpoint_path(header.step);
        for file in &header.files {
            if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', '\0']) {
                return Err(bad(&path, format!("`{file}` cannot be the name of a file")));
            }
        }
        let mut copy = HostSnapshot::new(header, std::mem::take(&mut self.buffer));
        fill(&mut |file, name, tensor| copy.add(file, name, tensor))?;
        copy.complete();
        let writer = Arc::clone(&self.writer);
        let write = move || {
            let result = prerequisite().and_then(|()| writer.write(&copy));
            Written { copy, result }
        };
        let running = thread::Builder::new().name("checkpoint".to_owned()).spawn(write);
        self.running =
            Some(running.map_err(|error| bad(&path, format!("cannot start a thread: {error}")))?);
        Ok(())
    }

    /// Waits until every save is durable.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when a save could not be written; the checkpoints before it are still there.
    pub fn finish(&mut self) -> Result<(), Error> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let Ok(Written { copy, result }) = running.join() else {
            let reason = "the thread that wrote it panicked".to_owned();
            return Err(bad(&self.writer.dir, reason));
        };
        self.buffer = copy.into_buffer();
        result
    }

    /// Whether a save is still being written.
    #[must_use]
    pub fn writing(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_finished())
    }
}

impl Drop for Checkpoints {
    /// Waits for the writer thread: nothing writes to a folder after its owner is gone.
    fn drop(&mut self) {
        let _result = self.finish();
    }
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("dir", &self.writer.dir)
            .field("keep", &self.writer.keep)
            .field("writing", &self.writing())
            .finish_non_exhaustive()
    }
}
