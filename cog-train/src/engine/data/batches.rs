//! Steps one after the other, made ahead of time by threads whose timing changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::batch::Step;
use super::cursor::Cursor;
use super::source::{Making, Source, make};
use crate::engine::aside::POLL;
use crate::error::Error;
use crate::progress::CancelToken;

/// What the threads and the taker share.
struct Shared<B> {
    cursor: Mutex<Cursor>,
    state: Mutex<State<B>>,
    /// There is room for one more step.
    room: Condvar,
    /// A step is ready, or there will be none.
    ready: Condvar,
    stop: AtomicBool,
    ahead: usize,
}

struct State<B> {
    /// Steps in the making or ready.
    open: usize,
    done: BTreeMap<u64, anyhow::Result<Step<B>>>,
    /// How many steps there are in all, once it is known.
    end: Option<u64>,
}

/// The steps of a run in their order, over all epochs: [`Loader::start`](super::Loader::start).
///
/// Dropping it ends its threads; it waits for the row or the collate call that each is at, where [`Batches::leave`] does
/// not.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::engine::data::{Batching, Loader, Position, Rows};
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
pub struct Batches<B>(Kind<B>);

enum Kind<B> {
    Here { cursor: Box<Cursor>, source: Arc<dyn Source<B>>, making: Making },
    Ahead { shared: Arc<Shared<B>>, threads: Vec<JoinHandle<()>>, taken: u64 },
    Broken(Option<Error>),
}

impl<B: Send + 'static> Batches<B> {
    pub(super) fn new(
        cursor: Cursor,
        source: Arc<dyn Source<B>>,
        making: Making,
        threads: usize,
        ahead: usize,
    ) -> Self {
        if threads == 0 {
            return Self(Kind::Here { cursor: Box::new(cursor), source, making });
        }
        let state = State { open: 0, done: BTreeMap::new(), end: None };
        let shared = Arc::new(Shared {
            cursor: Mutex::new(cursor),
            state: Mutex::new(state),
            room: Condvar::new(),
            ready: Condvar::new(),
            stop: AtomicBool::new(false),
            ahead: ahead.max(1),
        });
        let mut batches = Self(Kind::Ahead { shared, threads: Vec::new(), taken: 0 });
        let Kind::Ahead { shared, threads: running, .. } = &mut batches.0 else { return batches };
        for number in 0..threads {
            let (shared, source, making) = (shared.clone(), source.clone(), making.clone());
            let thread = std::thread::Builder::new()
                .name(format!("data-{number}"))
                .spawn(move || work(&shared, &*source, &making));
            match thread {
                Ok(thread) => running.push(thread),
                // Fewer threads give the same steps.
                Err(_) if !running.is_empty() => break,
                Err(error) => {
                    return Self::broken(Error::Plan {
                        reason: format!("cannot start a thread that reads data: {error}"),
                    });
                }
            }
        }
        batches
    }

    pub(super) fn broken(error: Error) -> Self {
        Self(Kind::Broken(Some(error)))
    }

    /// The next step; none at the end of [`Loader::once`](super::Loader::once), where others have no end.
    ///
    /// # Errors
    ///
    /// At the step where it happens: what reading a row returned, with the row's place; what the collate function
    /// returned; [`Error::Panicked`] for a panic in one of the two. The next call goes on behind that step. At the first
    /// call: [`Error::Plan`] for settings that do not go together; there are no steps then.
    #[expect(clippy::should_implement_trait, reason = "a for loop would hide the errors")]
    pub fn next(&mut self) -> anyhow::Result<Option<Step<B>>> {
        self.take(None)
    }

    /// [`Batches::next`], which waits only until the token is cancelled, whatever the threads are at; there are no steps
    /// after that. Without threads, the row or the collate call under way is waited for.
    ///
    /// # Errors
    ///
    /// Those of [`Batches::next`]; [`Error::Cancelled`].
    pub fn next_until(&mut self, cancel: &CancelToken) -> anyhow::Result<Option<Step<B>>> {
        let step = cancel.check().map_err(Into::into).and_then(|()| self.take(Some(cancel)));
        if step.is_err() && cancel.is_cancelled() {
            std::mem::replace(self, Self(Kind::Broken(None))).leave();
        }
        step
    }

    fn take(&mut self, cancel: Option<&CancelToken>) -> anyhow::Result<Option<Step<B>>> {
        let begin = Instant::now();
        let step = match &mut self.0 {
            Kind::Broken(error) => return error.take().map_or(Ok(None), |error| Err(error.into())),
            Kind::Here { cursor, source, making } => match cursor.take().1 {
                None => return Ok(None),
                Some(task) => {
                    let stop = || cancel.is_some_and(CancelToken::is_cancelled);
                    make(&**source, making, task, &stop)
                }
            },
            Kind::Ahead { shared, taken, .. } => match shared.take(*taken, cancel)? {
                None => return Ok(None),
                Some(step) => {
                    *taken += 1;
                    step
                }
            },
        };
        step.map(|step| Some(Step { waited: begin.elapsed(), ..step }))
    }
}

impl<B> Batches<B> {
    /// Ends without waiting: each thread ends by itself after the row or the collate call that it is at.
    pub fn leave(mut self) {
        if let Kind::Ahead { shared, threads, .. } = &mut self.0 {
            shared.end();
            threads.clear();
        }
    }
}

impl<B> Drop for Batches<B> {
    fn drop(&mut self) {
        let Kind::Ahead { shared, threads, .. } = &mut self.0 else { return };
        shared.end();
        for thread in threads.drain(..) {
            // A panic of the author's code has been caught before.
            let _ended = thread.join();
        }
    }
}

impl<B> Shared<B> {
    /// The step of this number, `None` when the steps have ended before it.
    fn take(
        &self,
        number: u64,
        cancel: Option<&CancelToken>,
    ) -> Result<Option<anyhow::Result<Step<B>>>, Error> {
        let mut state = lock(&self.state);
        loop {
            if let Some(step) = state.done.remove(&number) {
                state.open -= 1;
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

    /// Tells the threads to end.
    fn end(&self) {
        // Under the lock, so that no thread goes to sleep between its look at the flag and the call.
        let _state = lock(&self.state);
        self.stop.store(true, Ordering::Relaxed);
        self.room.notify_all();
    }

    /// Waits for room; false at the end.
    fn enter(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if self.stop.load(Ordering::Relaxed) || state.end.is_some() {
                return false;
            }
            if state.open < self.ahead {
                state.open += 1;
                return true;
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a thread does. Tasks are taken in their order and put back under their number, so whoever is slow, the order
/// stays.
fn work<B>(shared: &Shared<B>, source: &dyn Source<B>, making: &Making) {
    while shared.enter() {
        let (number, task) = lock(&shared.cursor).take();
        let unwanted = || shared.stop.load(Ordering::Relaxed);
        let step = task.map(|task| make(source, making, task, &unwanted));
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
