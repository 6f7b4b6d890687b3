//! A communicator between threads of this process: the ranks of a training in a test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cog_train::Error;
use cog_train::candle_core::Tensor;
use cog_train::parallel::Communicator;

/// Runs `work` on `world` threads, each with its communicator. Returns the results in the order of ranks.
pub(crate) fn on_ranks<T: Send>(world: usize, work: impl Fn(Arc<Threads>) -> T + Sync) -> Vec<T> {
    let shared = Arc::new(Shared { world, ..Shared::default() });
    std::thread::scope(|scope| {
        let rank = |rank| {
            let (shared, work) = (Arc::clone(&shared), &work);
            scope.spawn(move || work(Arc::new(Threads { shared, rank })))
        };
        let threads: Vec<_> = (0..world).map(rank).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// One rank of a world of threads.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    rank: usize,
}

#[derive(Debug, Default)]
struct Shared {
    world: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// The bytes of tensors that went from one rank to another.
    traffic: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// The number of operations that are complete.
    complete: u64,
    /// The messages of the ranks that have reached the present operation.
    messages: Vec<(usize, Message)>,
    /// The messages of the last operation, in the order of ranks.
    all: Arc<Vec<Message>>,
    /// A rank whose communicator is gone.
    lost: Option<usize>,
}

#[derive(Debug, Clone)]
enum Message {
    Sum(Tensor),
    Broadcast(Tensor, usize),
    Parts(Vec<Tensor>),
    Bytes(Vec<u8>),
    Flags(u64),
    Barrier,
}

impl Threads {
    /// Returns the bytes of tensors that went from one rank to another so far, over all ranks.
    pub(crate) fn traffic(&self) -> usize {
        self.shared.traffic.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the messages of all ranks.
    fn meet(&self, own: Message) -> Result<Arc<Vec<Message>>, Error> {
        let mut state = self.lock();
        let number = state.complete;
        state.messages.push((self.rank, own));
        if state.messages.len() == self.shared.world {
            let mut messages = std::mem::take(&mut state.messages);
            messages.sort_by_key(|(rank, _)| *rank);
            let all: Vec<Message> = messages.into_iter().map(|(_, message)| message).collect();
            let kinds: Vec<_> = all.iter().map(std::mem::discriminant).collect();
            assert!(kinds.iter().all(|kind| *kind == kinds[0]), "ranks call different operations");
            (state.all, state.complete) = (Arc::new(all), number + 1);
            self.shared.changed.notify_all();
        }
        while state.complete == number {
            if let Some(lost) = state.lost {
                return Err(Error::Ranks { reason: format!("rank {lost} is lost") });
            }
            let waited = self.shared.changed.wait_timeout(state, Duration::from_mins(1));
            let (held, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = held;
            assert!(!timeout.timed_out(), "rank {} waits for the others", self.rank);
        }
        Ok(Arc::clone(&state.all))
    }

    fn count(&self, tensor: &Tensor, receivers: usize) {
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        self.shared.traffic.fetch_add(bytes * receivers, Ordering::SeqCst);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.lock().lost = Some(self.rank);
        self.shared.changed.notify_all();
    }
}

/// A copy that shares no memory: threads are no processes.
fn copy(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(tensor.force_contiguous()?)
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.shared.world
    }

    /// Adds in the order of ranks, which is another order than that of a tree.
    fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        self.count(tensor, self.shared.world - 1);
        let all = self.meet(Message::Sum(copy(tensor)?))?;
        let mut sum = tensor.zeros_like()?;
        for message in all.iter() {
            let Message::Sum(tensor) = message else { unreachable!() };
            sum = (sum + tensor)?;
        }
        Ok(sum)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error> {
        if self.rank == root {
            self.count(tensor, self.shared.world - 1);
        }
        let all = self.meet(Message::Broadcast(copy(tensor)?, root))?;
        for message in all.iter() {
            let Message::Broadcast(other, other_root) = message else { unreachable!() };
            let same = (other.dims(), other.dtype(), *other_root);
            assert_eq!(same, (tensor.dims(), tensor.dtype(), root), "ranks differ in a broadcast");
        }
        let Message::Broadcast(sent, _) = &all[root] else { unreachable!() };
        copy(sent)
    }

    fn all_to_all(&self, parts: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        assert_eq!(parts.len(), self.shared.world);
        for (rank, part) in parts.iter().enumerate() {
            self.count(part, usize::from(rank != self.rank));
        }
        let parts: Vec<Tensor> = parts.iter().map(copy).collect::<Result<_, _>>()?;
        let own = parts[self.rank].clone();
        let all = self.meet(Message::Parts(parts))?;
        let received = all.iter().map(|message| {
            let Message::Parts(parts) = message else { unreachable!() };
            let part = &parts[self.rank];
            let same = (part.dims(), part.dtype());
            assert_eq!(same, (own.dims(), own.dtype()), "ranks differ in a part");
            copy(part)
        });
        received.collect()
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let all = self.meet(Message::Bytes(bytes.to_vec()))?;
        let bytes = all.iter().map(|message| {
            let Message::Bytes(bytes) = message else { unreachable!() };
            bytes.clone()
        });
        Ok(bytes.collect())
    }

    fn agree(&self, flags: u64) -> Result<u64, Error> {
        let all = self.meet(Message::Flags(flags))?;
        let flags = all.iter().map(|message| {
            let Message::Flags(flags) = message else { unreachable!() };
            *flags
        });
        Ok(flags.fold(0, |all, flags| all | flags))
    }

    fn barrier(&self) -> Result<(), Error> {
        self.meet(Message::Barrier).map(drop)
    }
}
