//! A panic in the author's code becomes an error that says where it happened; the end of a loop in a dry run is none.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use super::trace::{PanicTrace, panic_frames};
use crate::error::{Error, find, panic_message};
use crate::job::DryRunEnded;

struct Caught {
    thread: ThreadId,
    location: String,
    message: String,
    /// The author's frames, when `RUST_BACKTRACE` asks for them.
    frames: Vec<String>,
}

/// The guarded calls of the process. A panic of a worker thread that is passed on to the caller is seen there and only
/// there, so this is not a thread's own.
struct State {
    /// The number of calls in progress.
    calls: usize,
    /// The panics that the hook saw during the calls, oldest first.
    caught: Vec<Caught>,
}

impl State {
    /// Ends a call by a panic. Of several calls in progress each takes that of its own thread, if there is one.
    fn take(&mut self) -> Option<Caught> {
        let own = self.caught.iter().rposition(|it| it.thread == thread::current().id());
        let newest = self.caught.len().checked_sub(1)?;
        let at = if self.calls == 1 { newest } else { own.unwrap_or(newest) };
        Some(self.caught.remove(at))
    }
}

/// The most panics that are kept: an author's code may catch its own.
const MOST: usize = 64;

/// The runtime's own panics, behind which the process aborts: nobody catches those before them.
const ABORTS: [&str; 2] =
    ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

static CAUGHT: Mutex<State> = Mutex::new(State { calls: 0, caught: Vec::new() });
static HOOK: Once = Once::new();

/// Calls the author's code; a panic in it is [`Error::Panicked`].
pub(crate) fn guarded<T>(
    what: &'static str,
    call: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !record(info) {
                before(info);
            }
        }));
    });
    state().calls += 1;
    let ended = catch_unwind(AssertUnwindSafe(call));
    let mut state = state();
    let seen = if ended.is_err() { state.take() } else { None };
    state.calls -= 1;
    if state.calls == 0 {
        state.caught.clear();
    }
    drop(state);
    ended.unwrap_or_else(|payload| {
        if payload.is::<DryRunEnded>() {
            return Err(Error::Cancelled.into());
        }
        let Caught { location, message, frames, .. } = seen.unwrap_or_else(|| Caught {
            thread: thread::current().id(),
            location: "an unknown location".to_owned(),
            message: panic_message(payload.as_ref()).to_owned(),
            frames: Vec::new(),
        });
        let error = Error::Panicked { what, location, message };
        if frames.is_empty() {
            return Err(error.into());
        }
        let message = error.to_string();
        Err(anyhow::Error::new(error).context(PanicTrace { message, frames }))
    })
}

/// Whether a guarded call ended by a panic.
pub(crate) fn panicked<T>(ended: &anyhow::Result<T>) -> bool {
    ended.as_ref().is_err_and(|error| matches!(find(error), Some(Error::Panicked { .. })))
}

fn state() -> std::sync::MutexGuard<'static, State> {
    CAUGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(info: &PanicHookInfo<'_>) -> bool {
    if state().calls == 0 {
        return false;
    }
    let location =
        info.location().map_or_else(|| "an unknown location".to_owned(), ToString::to_string);
    let trace = Backtrace::capture();
    let frames = match trace.status() {
        BacktraceStatus::Captured => panic_frames(&trace.to_string()),
        _ => Vec::new(),
    };
    let (thread, message) = (thread::current().id(), panic_message(info.payload()).to_owned());
    let mut state = state();
    if ABORTS.contains(&message.as_str()) {
        for lost in state.caught.iter().filter(|it| it.thread == thread) {
            // There is nobody to tell that standard error is closed.
            let _ = writeln!(io::stderr(), "panic at {}: {}", lost.location, lost.message);
        }
        let _ = writeln!(io::stderr(), "{message}");
        return true;
    }
    if state.caught.len() == MOST {
        state.caught.remove(0);
    }
    state.caught.push(Caught { thread, location, message, frames });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_location() {
        let error = guarded::<()>("train", || panic!("boom {}", 7)).unwrap_err();
        let Some(Error::Panicked { what: "train", location, message }) = error.downcast_ref()
        else {
            panic!("{error}")
        };
        assert!(location.contains("panics.rs:"), "{location}");
        assert_eq!(message, "boom 7");
    }

    #[test]
    fn the_end_of_a_dry_run_is_a_cancellation() {
        let end = || std::panic::resume_unwind(Box::new(DryRunEnded));
        let error = guarded::<()>("train", end).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)), "{error}");
    }

    #[test]
    fn panics_of_concurrent_calls_are_not_confused() {
        let barrier = std::sync::Barrier::new(9);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let error = guarded::<()>("train", || panic!("panic {number}")).unwrap_err();
                    assert!(error.to_string().ends_with(&format!("panic {number}")), "{error}");
                });
            }
            barrier.wait();
            (0..100).for_each(|_| guarded("train", || Ok(())).unwrap());
        });
    }

    #[test]
    fn results_without_a_panic_pass_through() {
        assert_eq!(guarded("train", || Ok(3)).unwrap(), 3);
        assert_eq!(guarded::<()>("train", || anyhow::bail!("no")).unwrap_err().to_string(), "no");
    }
}
