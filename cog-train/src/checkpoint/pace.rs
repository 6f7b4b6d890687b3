//! Writing beside threads that compute: where they take every processor, the writer rests for most of the time.
//!
//! Threads that share a step wait for each other, so one that shares its processor holds up the step. A low priority does
//! not help: a thread that wakes for the next piece of a step waits until the time slice of the writer has passed.

use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::disk::{Disk, Item, Sink};

/// Rest for each second of work, at the least and at the most. With the most of it a step takes about 1.04 of its time.
const REST: RangeInclusive<u32> = 4..=24;
/// Shorter rests are put together: a sleep has a length of its own.
const LEAST: Duration = Duration::from_millis(1);

/// How fast one thread works. At first as fast as it can.
#[derive(Default)]
pub(super) struct Pace {
    resting: Mutex<Resting>,
    changed: Condvar,
}

#[derive(Default)]
struct Resting {
    /// Rest for each second of work.
    rest: u32,
    /// Whether somebody waits for the thread.
    waited_for: bool,
    /// The work that the thread had done when it rested last.
    after: Duration,
}

impl Pace {
    /// A thread is about to begin `work` on processors that others compute on, and has `time` for it.
    pub(super) fn begin_within(&self, time: Duration, work: Duration) {
        let times = time.as_micros() / work.as_micros().max(1);
        let rest = u32::try_from(times).unwrap_or(u32::MAX).saturating_sub(1);
        self.begin(rest.clamp(*REST.start(), *REST.end()));
    }

    /// A thread is about to begin, and is to rest so long for each second of work.
    pub(super) fn begin(&self, rest: u32) {
        *self.lock() = Resting { rest, ..Resting::default() };
    }

    /// The thread is waited for: it rests no more.
    pub(super) fn hurry(&self) {
        let mut resting = self.lock();
        (resting.rest, resting.waited_for) = (0, true);
        self.changed.notify_all();
    }

    /// Whether the thread is waited for.
    pub(super) fn is_waited_for(&self) -> bool {
        self.lock().waited_for
    }

    /// Called by the thread that works, between two pieces of its work.
    pub(super) fn rest(&self) {
        self.rest_after(worked());
    }

    fn rest_after(&self, worked: Duration) {
        let mut resting = self.lock();
        let owed = worked.saturating_sub(resting.after) * resting.rest;
        if owed < LEAST {
            return;
        }
        resting.after = worked;
        let rested = self.changed.wait_timeout_while(resting, owed, |resting| resting.rest > 0);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that the calling thread has had a processor: waiting for the disk is no work.
pub(super) fn worked() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// A disk whose user rests after a piece that was written or read.
pub(super) struct Paced {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) pace: Arc<Pace>,
}

impl Disk for Paced {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(PacedFile { file: self.disk.create(path)?, pace: Arc::clone(&self.pace) }))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Item>> {
        self.disk.list(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(PacedFile { file: self.disk.open(path)?, pace: Arc::clone(&self.pace) }))
    }
}

struct PacedFile<F: ?Sized> {
    pace: Arc<Pace>,
    file: Box<F>,
}

impl Write for PacedFile<dyn Sink> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pace.rest();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for PacedFile<dyn Sink> {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Read for PacedFile<dyn Read> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.pace.rest();
        self.file.read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100_000);

    #[test]
    fn who_is_waited_for_rests_no_more() {
        let pace = Pace::default();
        pace.rest_after(LONG); // nobody has asked for rests
        pace.begin(4);
        assert!(!pace.is_waited_for());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pace.rest_after(LONG);
                // The rest is over, and there is no other one.
                assert!(pace.is_waited_for());
                pace.rest_after(LONG * 2);
            });
            while pace.lock().after != LONG {
                std::thread::yield_now();
            }
            pace.hurry();
        });
    }

    #[test]
    fn a_rest_is_owed_for_what_was_done_since_the_last_one() {
        let pace = Pace::default();
        pace.begin(10);
        let little = LEAST / 20;
        pace.rest_after(little);
        assert_eq!(pace.lock().after, Duration::ZERO, "too short a rest is put off");
        pace.rest_after(4 * little);
        assert_eq!(pace.lock().after, 4 * little);
        pace.rest_after(5 * little);
        assert_eq!(pace.lock().after, 4 * little, "what is paid for is paid for");
        pace.begin(10);
        assert_eq!(pace.lock().after, Duration::ZERO, "another thread begins");
    }

    #[test]
    fn work_and_rests_take_the_time_there_is() {
        let pace = Pace::default();
        let second = Duration::from_secs(1);
        for (seconds, work, rest) in [
            (10, second, 9),
            (24, 2 * second, 11),
            (3, second, *REST.start()),
            (0, second, *REST.start()),
            (1000, second, *REST.end()),
            (7, Duration::ZERO, *REST.end()),
        ] {
            pace.begin_within(seconds * second, work);
            assert_eq!(pace.lock().rest, rest);
        }
    }
}
