//! Work on several threads, ended by the first error or a cancellation.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::progress::CancelToken;

/// The interval at which the caller is called, and the token polled.
const POLL: Duration = Duration::from_millis(100);

/// Runs `work` on each item, on at most `threads` threads, and returns the results in the order of the items. `tick` is called
/// on this thread meanwhile. After an error the token that `work` receives is cancelled.
pub(super) fn parallel<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    cancel: &CancelToken,
    tick: &mut dyn FnMut(),
    work: impl Fn(T, &CancelToken) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let stop = CancelToken::new();
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let (sender, results) = channel();
    let worker = |sender: std::sync::mpsc::Sender<_>| {
        while !stop.is_cancelled() {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((at, item)) = next else { break };
            if sender.send((at, work(item, &stop))).is_err() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        let mut failed = None;
        for _ in 0..threads.min(count) {
            let sender = sender.clone();
            let spawned = std::thread::Builder::new()
                .name("hub".to_owned())
                .spawn_scoped(scope, || worker(sender));
            if let Err(source) = spawned {
                failed = Some(Error::Thread { task: "downloads files", source });
                stop.cancel();
                break;
            }
        }
        drop(sender);
        let mut done: Vec<Option<R>> = (0..count).map(|_| None).collect();
        loop {
            match results.recv_timeout(POLL) {
                Ok((at, Ok(result))) => done[at] = Some(result),
                Ok((_, Err(error))) => {
                    // Those after the first only say that they were cancelled.
                    failed.get_or_insert(error);
                    stop.cancel();
                }
                Err(RecvTimeoutError::Timeout) => {
                    if cancel.is_cancelled() {
                        stop.cancel();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            tick();
        }
        cancel.check()?;
        match failed {
            Some(error) => Err(error),
            // A thread that panicked propagates its panic at the end of the scope.
            None => Ok(done.into_iter().flatten().collect()),
        }
    })
}
