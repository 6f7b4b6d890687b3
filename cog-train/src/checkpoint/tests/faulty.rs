//! A disk that fails or stops at the n-th operation.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::disk::{Disk, Item, Sink};

/// The fault at the n-th operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It and all after it fail without effect.
    Stop,
    /// It takes effect, a write by half, and fails; all after it fail without effect.
    StopWithin,
    /// It alone fails without effect.
    Once,
    /// It and all after it that allocate space fail without effect. Only these count.
    Full,
    /// As `Stop`, and only operations that change the disk count.
    StopChange,
}

/// The effect of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Read,
    Change,
    Grow,
}

/// A disk with a fault.
pub(super) struct Faulty<D> {
    pub(super) disk: D,
    fault: Fault,
}

#[derive(Clone)]
struct Fault {
    mode: Mode,
    at: usize,
    count: Arc<AtomicUsize>,
}

/// The size of the largest write, so that each file takes several.
const MAX_WRITE: usize = 512;

impl Fault {
    /// Counts an operation. Returns `true` if it succeeds, `false` if it takes effect and fails, an error if it fails without
    /// effect.
    fn next(&self, does: Does) -> io::Result<bool> {
        let counts = match self.mode {
            Mode::Full => does == Does::Grow,
            Mode::StopChange => does != Does::Read,
            _ => true,
        };
        let number = if counts {
            self.count.fetch_add(1, Ordering::SeqCst) + 1
        } else {
            self.count.load(Ordering::SeqCst)
        };
        match self.mode {
            Mode::Once if number == self.at => Err(io::Error::other("the disk is tired")),
            Mode::Full if counts && number >= self.at => {
                Err(io::Error::from(rustix::io::Errno::NOSPC))
            }
            Mode::StopWithin if number == self.at => Ok(false),
            Mode::Stop | Mode::StopChange | Mode::StopWithin if number >= self.at => {
                Err(io::Error::other("stopped"))
            }
            _ => Ok(true),
        }
    }

    /// Runs an operation that is atomic.
    fn run<T>(&self, does: Does, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let succeeds = self.next(does)?;
        let result = run()?;
        if succeeds { Ok(result) } else { Err(io::Error::other("stopped")) }
    }
}

impl<D: Disk> Faulty<D> {
    pub(super) fn new(disk: D, mode: Mode, at: usize) -> Arc<Self> {
        Arc::new(Self { disk, fault: Fault { mode, at, count: Arc::default() } })
    }

    /// Whether the fault has occurred.
    pub(super) fn reached(&self) -> bool {
        self.fault.count.load(Ordering::SeqCst) >= self.fault.at
    }
}

impl<D: Disk> Disk for Faulty<D> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.fault.run(Does::Grow, || self.disk.create_dir(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let sink = self.fault.run(Does::Grow, || self.disk.create(path))?;
        Ok(Box::new(FaultySink { sink, fault: self.fault.clone() }))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.fault.run(Does::Grow, || self.disk.sync_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fault.run(Does::Change, || self.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.fault.run(Does::Change, || self.disk.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.fault.run(Does::Change, || self.disk.remove_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Item>> {
        self.fault.run(Does::Read, || self.disk.list(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let file = self.fault.run(Does::Read, || self.disk.open(path))?;
        Ok(Box::new(FaultyRead { file, fault: self.fault.clone() }))
    }
}

struct FaultySink {
    sink: Box<dyn Sink>,
    fault: Fault,
}

impl Write for FaultySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(MAX_WRITE)];
        if self.fault.next(Does::Grow)? {
            self.sink.write_all(bytes)?;
            return Ok(bytes.len());
        }
        self.sink.write_all(&bytes[..bytes.len() / 2])?;
        Err(io::Error::other("stopped"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for FaultySink {
    fn sync(&mut self) -> io::Result<()> {
        self.fault.run(Does::Grow, || self.sink.sync())
    }
}

struct FaultyRead {
    file: Box<dyn Read>,
    fault: Fault,
}

impl Read for FaultyRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fault.run(Does::Read, || self.file.read(buffer))
    }
}
