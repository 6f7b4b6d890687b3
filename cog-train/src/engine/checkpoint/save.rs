//! Saving: a copy on the training's own thread, the writing on another.

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
use super::room::{Room, Wanted};
use super::writer::Writer;
use crate::error::Error;
use crate::kernels::spare;

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
/// use cog_train::engine::checkpoint::{self, Checkpoints, Keep, Snapshot};
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
    /// When the last one was begun, or when there was none yet.
    last: Instant,
    /// The work that the last one was.
    work: Option<Duration>,
    /// Memory for the next copy, and who is making it.
    room: Room,
    making: Option<JoinHandle<Room>>,
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
    /// [`Error::Plan`] when no checkpoint is to be kept, [`Error::File`] when the folder cannot be made,
    /// [`Error::Checkpoint`] when what was left cannot be settled.
    pub fn open(dir: &Path, keep: Keep) -> Result<Self, Error> {
        Self::open_on(Arc::new(Real), dir, keep)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, dir: &Path, keep: Keep) -> Result<Self, Error> {
        if keep.last == 0 {
            let reason = "0 checkpoints are to be kept, and at least 1 must be".to_owned();
            return Err(Error::Plan { reason });
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
            room: Room::new(),
            making: None,
        })
    }

    /// Makes memory for the copies of tensors like these, on another thread: memory that was never touched is slow.
    pub(crate) fn make_room(&mut self, files: &BTreeMap<String, BTreeMap<String, Tensor>>) {
        let Some(wanted) = Wanted::of(files) else { return };
        // Ten times as long as it takes by itself: a share of the time until the first save that is not known yet.
        self.set_pace(10 * Duration::from_secs(1), Duration::from_secs(1), true);
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
    /// [`Error::Plan`] for names and types that no file can have; [`Error::Tensor`] when tensors cannot be copied.
    pub fn save(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.begin(snapshot, || Ok(()))?;
        self.start()
    }

    /// The same, but the tensors may change only in the next [`change`](Self::change), which the copying is a part of.
    /// `before` is what the writing thread is to do before the checkpoint can be found.
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
        let lent = Lent::new(snapshot, std::mem::take(&mut self.room))?;
        self.begun = Some(Begun { lent, before: Box::new(before) });
        Ok(())
    }

    /// Runs `work`, in which tensors may change that a save was [begun](Self::begin) of. The save is on its way then.
    ///
    /// # Errors
    ///
    /// Those of [`save`](Self::save).
    pub(crate) fn change<R>(&mut self, work: impl FnOnce() -> R) -> Result<R, Error> {
        let Some(begun) = &mut self.begun else { return Ok(work()) };
        let result = spare::lend(begun.lent.spares(), work);
        self.start()?;
        Ok(result)
    }

    /// Begins to write what was begun to be saved.
    fn start(&mut self) -> Result<(), Error> {
        let Some(Begun { lent, before }) = self.begun.take() else { return Ok(()) };
        let place = self.writer.place(lent.step());
        // The next save is likely to come after as long a time, and would wait.
        let time = self.last.elapsed() / 4 * 3;
        self.last = Instant::now();
        let work = self.work.unwrap_or_else(|| lent.likely_work());
        self.set_pace(time, work, lent.computes_here);
        let Some(host) = lent.copied() else {
            return Err(bad(&place, "a tensor was left half-changed".to_owned()));
        };
        let writer = Arc::clone(&self.writer);
        let running = thread().spawn(move || {
            let result = before().and_then(|()| writer.write(&host));
            Written { host, work: worked(), result }
        });
        let running =
            running.map_err(|error| bad(&place, format!("cannot start a thread: {error}")))?;
        self.running = Some(running);
        Ok(())
    }

    /// Tells a thread that is about to begin `work` that it has `time` for it, or that there is no need to wait.
    fn set_pace(&self, time: Duration, work: Duration, computes_here: bool) {
        if computes_here && all_compute() {
            self.pace.begin_within(time, work);
        } else {
            self.pace.begin_at_once();
        }
    }

    /// Waits until all that was saved is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when it could not be written; the checkpoints before it are still there.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.start()?;
        self.pace.hurry();
        if let Some(Ok(room)) = self.making.take().map(JoinHandle::join) {
            self.room = room;
        }
        let Some(running) = self.running.take() else { return Ok(()) };
        let Ok(Written { host, work, result }) = running.join() else {
            let reason = "the thread that wrote it panicked".to_owned();
            return Err(bad(&self.writer.dir, reason));
        };
        (self.room, self.work) = (host.into_room(), Some(work));
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
