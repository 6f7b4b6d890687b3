//! Saving: a copy, which an update of the training may be a part of, and the writing on another thread.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use candle_core::Tensor;
use serde_json::Value;

use super::Keep;
use super::disk::{Disk, Real};
use super::host::{Host, Lent};
use super::load::bad;
use super::pace::{Pace, Paced, worked};
use super::reserve::{Reserve, Wanted};
use super::writer::Writer;
use crate::error::Error;
use cog_train_nn::__private::spare;

/// All that a checkpoint is to hold.
///
/// The example of [`Checkpoints`] saves one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The step, which names the checkpoint.
    pub step: u64,
    /// The state that is no tensor. Its numbers come back bit for bit; the order of an object's keys does not.
    pub state: Value,
    /// Tensors by name, by the file that they go into: `weights`, `optimizer`, `ema`. Any shapes, any devices, any type
    /// that safetensors has.
    pub files: BTreeMap<String, BTreeMap<String, Tensor>>,
    /// Whether this is the best so far by evaluation, which [`Keep::best`] keeps.
    pub best: bool,
}

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
/// checkpoints.save(Snapshot { step: 120, state, files, best: false })?; // goes on being written
/// checkpoints.finish()?; // now it is on the disk
///
/// let found = checkpoint::newest(&dir)?.checkpoint.expect("one was saved");
/// assert_eq!((found.step(), &found.state()["lr"]), (120, &serde_json::json!(0.1)));
/// assert_eq!(found.tensors("weights", &Device::Cpu)?["scale"].to_vec1::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Checkpoints {
    writer: Arc<Writer>,
    pace: Arc<Pace>,
    /// The save whose tensors are not all copied yet.
    begun: Option<Begun>,
    /// The save that is being written, or whose result nobody has asked for.
    running: Option<JoinHandle<Written>>,
    /// When the writing of the last one began; when this was opened, if there was none.
    last: Instant,
    /// The work that the last one was.
    work: Option<Duration>,
    /// Memory for the next copy.
    reserve: Reserve,
    /// Who is making it.
    making: Option<JoinHandle<Reserve>>,
    /// Why the last save could not be on its way, if nobody has asked.
    failed: Option<Error>,
}

/// What a thread that wrote comes back with.
struct Written {
    host: Host,
    work: Duration,
    result: Result<(), Error>,
}

/// A save that is not on its way yet.
struct Begun {
    lent: Lent,
    before: Box<dyn FnOnce() -> Result<(), Error> + Send>,
}

impl Checkpoints {
    /// Takes a folder for checkpoints, makes it if it is not there, and settles what an earlier process left half-done.
    /// What [`newest`](super::newest) found before is to be read before: its folder may get another name here.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no checkpoint is to be kept, [`Error::File`] when the folder cannot be made,
    /// [`Error::Checkpoint`] when what was left cannot be settled.
    pub fn open(dir: &Path, keep: Keep) -> Result<Self, Error> {
        Self::open_on(Arc::new(Real), dir, keep)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, dir: &Path, keep: Keep) -> Result<Self, Error> {
        if keep.last == 0 {
            let reason = "0 checkpoints are to be kept, and at least 1 must be".to_owned();
            return Err(Error::InvalidConfig { reason });
        }
        let pace = Arc::new(Pace::default());
        let disk = Arc::new(Paced { disk, pace: Arc::clone(&pace) });
        let writer = Arc::new(Writer { disk, dir: dir.to_owned(), keep });
        writer.open()?;
        Ok(Self {
            writer,
            pace,
            begun: None,
            running: None,
            last: Instant::now(),
            work: None,
            reserve: Reserve::new(),
            making: None,
            failed: None,
        })
    }

    /// Makes memory for the copies of tensors like these, on another thread: memory that was never touched is slow.
    pub(crate) fn make_reserve(&mut self, files: &BTreeMap<String, BTreeMap<String, Tensor>>) {
        /// The time until the first save is not known.
        const REST: u32 = 9;
        let Some(wanted) = Wanted::of(files) else { return };
        self.pace.begin(if all_compute() { REST } else { 0 });
        let pace = Arc::clone(&self.pace);
        // Without a thread it is made when it is needed.
        self.making = thread().spawn(move || wanted.make(&pace)).ok();
    }

    /// Copies a snapshot and begins to write it on another thread.
    ///
    /// The copy is the snapshot's own: the tensors may change as soon as this returns. An earlier save that is still
    /// being written is waited for. When this returns without an error, the earlier save is on the disk.
    ///
    /// Where the tensors are on the CPU and every processor computes, the writing rests for most of the time, so that steps
    /// take about as long as without it: 24 times as long as it works, or less for saves that come often, until it is
    /// waited for.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] of the earlier save, in which case this one was not begun; [`Error::Checkpoint`] or
    /// [`Error::InvalidConfig`] for names and types that no file can have; [`Error::Tensor`] when tensors cannot be copied.
    pub fn save(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.begin(snapshot, || Ok(()))?;
        self.start();
        self.failed.take().map_or(Ok(()), Err)
    }

    /// The same, but what can be is copied in the next [`change`](Self::change), and may not change before. `before` is what
    /// the writing thread is to do before the checkpoint can be found.
    pub(crate) fn begin(
        &mut self,
        snapshot: Snapshot,
        before: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.finish()?;
        let place = self.writer.place(snapshot.step);
        for file in snapshot.files.keys() {
            if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', '\0']) {
                return Err(bad(&place, format!("`{file}` cannot be the name of a file")));
            }
        }
        let lent = Lent::new(snapshot, std::mem::take(&mut self.reserve))?;
        let copied = lent.is_copied();
        self.begun = Some(Begun { lent, before: Box::new(before) });
        if copied {
            self.start();
        }
        Ok(())
    }

    /// Runs `work`, in which tensors may change that a save was [begun](Self::begin) of: by fused updates, or after
    /// [`spare::keep`]. Then the save is on its way; why it is not is told when it is waited for.
    pub(crate) fn change<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let Some(begun) = &mut self.begun else { return work() };
        let result = spare::lend(begun.lent.spares(), work);
        self.start();
        result
    }

    /// Begins to write what was begun to be saved.
    fn start(&mut self) {
        let Some(Begun { lent, before }) = self.begun.take() else { return };
        let place = self.writer.place(lent.step());
        let computes_here = lent.computes_here;
        let Some(host) = lent.copied() else {
            let reason = "numbers were lost in an update that broke off".to_owned();
            self.failed = Some(bad(&place, reason));
            return;
        };
        // The next save is likely to come after as long a time, and would wait.
        let time = self.last.elapsed() / 4 * 3;
        self.last = Instant::now();
        if computes_here && all_compute() {
            self.pace.begin_within(time, self.work.unwrap_or_else(|| host.likely_work()));
        } else {
            self.pace.begin(0);
        }
        let writer = Arc::clone(&self.writer);
        let running = thread().spawn(move || {
            let result = before().and_then(|()| writer.write(&host));
            Written { host, work: worked(), result }
        });
        match running {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                self.failed = Some(bad(&place, format!("cannot start a thread: {error}")));
            }
        }
    }

    /// Waits until all that was saved is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when it could not be written; the checkpoints before it are still there.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.start();
        self.pace.hurry();
        if let Some(Ok(reserve)) = self.making.take().map(JoinHandle::join) {
            self.reserve = reserve;
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(running) = self.running.take() else { return Ok(()) };
        let Ok(Written { host, work, result }) = running.join() else {
            let reason = "the thread that wrote it panicked".to_owned();
            return Err(bad(&self.writer.dir, reason));
        };
        (self.reserve, self.work) = (host.into_reserve(), Some(work));
        result
    }

    /// Whether a save is still being written.
    #[must_use]
    pub fn writing(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_finished())
    }
}

fn thread() -> thread::Builder {
    thread::Builder::new().name("checkpoint".to_owned())
}

/// Whether the threads that compute take every processor of this process.
fn all_compute() -> bool {
    available_parallelism().is_ok_and(|processors| rayon::current_num_threads() >= processors.get())
}

impl Drop for Checkpoints {
    /// Waits for the writing: nothing goes on in a folder that nobody holds.
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
