//! Batches in their order, prefetched by threads whose timing changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::batch::Batch;
use super::cursor::Cursor;
use super::source::{BatchSettings, Source, make_batch};
use crate::cancellable::POLL;
use crate::error::Error;
use crate::progress::CancelToken;

/// The state that the worker threads share with the consumer.
struct Shared<B> {
    cursor: Mutex<Cursor>,
    state: Mutex<State<B>>,
    /// Notified when one more batch may be made.
    room: Condvar,
    /// Notified when a batch is ready, or the last one was taken.
    ready: Condvar,
    stopped: AtomicBool,
    ahead: usize,
}

struct State<B> {
    /// Batches that are being made or are ready.
    in_flight: usize,
    done: BTreeMap<u64, anyhow::Result<Batch<B>>>,
    /// The number of all batches, once it is known.
    end: Option<u64>,
}

/// The batches of a run in their order, over all epochs: [`Loader::start`](super::Loader::start).
///
/// Dropping it joins its threads, each of which finishes its current row or collate call; [`Batches::leave`] does not
/// wait.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::data::{Batching, Loader, Position, Rows};
///
/// let loader = Loader::new(Rows::new((0..10).collect::<Vec<u32>>()), |rows, _| Ok(rows))
///     .batch(Batching::Rows(4))
///     .shuffle(false)
///     .threads(2);
/// let micro = Some(3); // the most rows of a part
/// let mut batches = loader.start(42, Position { epoch: 0, batch: 1 }, micro, &Device::Cpu);
/// let step = batches.next()?.expect("there is no end");
/// assert_eq!(step.rows, [4, 5, 6, 7]);
/// assert_eq!((&step.parts[0].batch, &step.parts[1].batch), (&vec![4, 5, 6], &vec![7]));
/// assert_eq!(step.next, Position { epoch: 0, batch: 2 });
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Batches<B>(Mode<B>);

enum Mode<B> {
    Inline { cursor: Box<Cursor>, source: Arc<dyn Source<B>>, settings: BatchSettings },
    Prefetched { shared: Arc<Shared<B>>, threads: Vec<JoinHandle<()>>, taken: u64 },
    Failed(Option<Error>),
}

impl<B: Send + 'static> Batches<B> {
    pub(super) fn new(
        cursor: Cursor,
        source: Arc<dyn Source<B>>,
        settings: BatchSettings,
        threads: usize,
        ahead: usize,
    ) -> Self {
        if threads == 0 {
            return Self(Mode::Inline { cursor: Box::new(cursor), source, settings });
        }
        let state = State { in_flight: 0, done: BTreeMap::new(), end: None };
        let shared = Arc::new(Shared {
            cursor: Mutex::new(cursor),
            state: Mutex::new(state),
            room: Condvar::new(),
            ready: Condvar::new(),
            stopped: AtomicBool::new(false),
            ahead: ahead.max(1),
        });
        let mut batches = Self(Mode::Prefetched { shared, threads: Vec::new(), taken: 0 });
        let Mode::Prefetched { shared, threads: running, .. } = &mut batches.0 else {
            return batches;
        };
        for number in 0..threads {
            let (shared, source, settings) = (shared.clone(), source.clone(), settings.clone());
            let thread = std::thread::Builder::new()
                .name(format!("data-{number}"))
                .spawn(move || worker(&shared, &*source, &settings));
            match thread {
                Ok(thread) => running.push(thread),
                // Fewer threads give the same steps.
                Err(_) if !running.is_empty() => break,
                Err(error) => {
                    return Self::failed(Error::InvalidConfig {
                        reason: format!("cannot start a thread that reads data: {error}"),
                    });
                }
            }
        }
        batches
    }

    pub(super) fn failed(error: Error) -> Self {
        Self(Mode::Failed(Some(error)))
    }

    /// Returns the next batch; `None` at the end of [`Loader::once`](super::Loader::once). Other sequences have no end.
    ///
    /// # Errors
    ///
    /// At the batch where it happens: the error of reading a row, with the row's location; the error of the collate function;
    /// [`Error::Panicked`] for a panic in one of the two. The next call returns the batch after it. At the first call:
    /// [`Error::InvalidConfig`] for invalid settings; there are no batches then.
    #[expect(clippy::should_implement_trait, reason = "a for loop would hide the errors")]
    pub fn next(&mut self) -> anyhow::Result<Option<Batch<B>>> {
        self.take(None)
    }

    /// Does the same as [`Batches::next`] until the token is cancelled, without waiting for the threads; there are no
    /// batches after that. Without threads, the current row or collate call finishes first.
    ///
    /// # Errors
    ///
    /// Those of [`Batches::next`]; [`Error::Cancelled`].
    pub fn next_until(&mut self, cancel: &CancelToken) -> anyhow::Result<Option<Batch<B>>> {
        let step = cancel.check().map_err(Into::into).and_then(|()| self.take(Some(cancel)));
        if step.is_err() && cancel.is_cancelled() {
            std::mem::replace(self, Self(Mode::Failed(None))).leave();
        }
        step
    }

    fn take(&mut self, cancel: Option<&CancelToken>) -> anyhow::Result<Option<Batch<B>>> {
        let begin = Instant::now();
        let step = match &mut self.0 {
            Mode::Failed(error) => return error.take().map_or(Ok(None), |error| Err(error.into())),
            Mode::Inline { cursor, source, settings } => match cursor.take().1 {
                None => return Ok(None),
                Some(task) => {
                    let is_cancelled = || cancel.is_some_and(CancelToken::is_cancelled);
                    make_batch(&**source, settings, task, &is_cancelled)
                }
            },
            Mode::Prefetched { shared, taken, .. } => match shared.take(*taken, cancel)? {
                None => return Ok(None),
                Some(step) => {
                    *taken += 1;
                    step
                }
            },
        };
        step.map(|step| Some(Batch { waited: begin.elapsed(), ..step }))
    }
}

impl<B> Batches<B> {
    /// Stops without waiting: each thread ends by itself after its current row or collate call.
    pub fn leave(mut self) {
        if let Mode::Prefetched { shared, threads, .. } = &mut self.0 {
            shared.stop();
            threads.clear();
        }
    }
}

impl<B> Drop for Batches<B> {
    fn drop(&mut self) {
        let Mode::Prefetched { shared, threads, .. } = &mut self.0 else { return };
        shared.stop();
        for thread in threads.drain(..) {
            // A panic of the author's code has been caught before.
            let _ended = thread.join();
        }
    }
}

impl<B> Shared<B> {
    /// Returns the batch of this number, `None` when the sequence ended before it.
    fn take(
        &self,
        number: u64,
        cancel: Option<&CancelToken>,
    ) -> Result<Option<anyhow::Result<Batch<B>>>, Error> {
        let mut state = lock(&self.state);
        loop {
            if let Some(step) = state.done.remove(&number) {
                state.in_flight -= 1;
                self.room.notify_one();
                return Ok(Some(step));
            }
            if state.end == Some(number) {
                return Ok(None);
            }
            state = if let Some(cancel) = cancel {
                cancel.check()?;
                let waited = self.ready.wait_timeout(state, POLL);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.ready.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Stops the worker threads.
    fn stop(&self) {
        // Under the lock, so that no thread goes to sleep between its look at the flag and the call.
        let _state = lock(&self.state);
        self.stopped.store(true, Ordering::Relaxed);
        self.room.notify_all();
    }

    /// Reserves room for a batch; false at the end.
    fn reserve(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if self.stopped.load(Ordering::Relaxed) || state.end.is_some() {
                return false;
            }
            if state.in_flight < self.ahead {
                state.in_flight += 1;
                return true;
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Runs a worker thread. Tasks are taken in their order and their batches stored by number, so a slow thread does not
/// change the order.
fn worker<B>(shared: &Shared<B>, source: &dyn Source<B>, settings: &BatchSettings) {
    while shared.reserve() {
        let (number, task) = lock(&shared.cursor).take();
        let is_cancelled = || shared.stopped.load(Ordering::Relaxed);
        let step = task.map(|task| make_batch(source, settings, task, &is_cancelled));
        let mut state = lock(&shared.state);
        if let Some(step) = step {
            state.done.insert(number, step);
        } else {
            state.end = Some(number);
            shared.room.notify_all();
        }
        shared.ready.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
