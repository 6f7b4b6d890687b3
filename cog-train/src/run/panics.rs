//! A panic in the author's code becomes an error that says where it happened; the end of a loop in a dry run is none.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, Once, PoisonError};

use super::trace::{PanicTrace, panic_frames};
use crate::error::Error;
use crate::job::DryRunEnded;

struct Caught {
    place: String,
    message: String,
    /// The author's frames, when `RUST_BACKTRACE` asks for them.
    frames: Vec<String>,
}

/// The number of guarded calls in progress, and the last panic that the hook saw during one. A panic of a worker thread that is passed on to the
/// caller is seen there and only there, so this is not a thread's own.
static CAUGHT: Mutex<(usize, Option<Caught>)> = Mutex::new((0, None));
static HOOK: Once = Once::new();

/// Calls the author's code; a panic in it is [`Error::Panicked`].
pub(crate) fn guarded<T>(
    what: &'static str,
    call: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !keep(info) {
                before(info);
            }
        }));
    });
    caught().0 += 1;
    let ended = catch_unwind(AssertUnwindSafe(call));
    let mut state = caught();
    state.0 -= 1;
    let seen = state.1.take();
    drop(state);
    ended.unwrap_or_else(|payload| {
        if payload.is::<DryRunEnded>() {
            return Err(Error::Cancelled.into());
        }
        let Caught { place, message, frames } = seen.unwrap_or_else(|| Caught {
            place: "an unknown place".to_owned(),
            message: text_of(payload.as_ref()).to_owned(),
            frames: Vec::new(),
        });
        let error = Error::Panicked { what, place, message };
        if frames.is_empty() {
            return Err(error.into());
        }
        let message = error.to_string();
        Err(anyhow::Error::new(error).context(PanicTrace { message, frames }))
    })
}

fn caught() -> std::sync::MutexGuard<'static, (usize, Option<Caught>)> {
    CAUGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(info: &PanicHookInfo<'_>) -> bool {
    let mut state = caught();
    if state.0 == 0 {
        return false;
    }
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let trace = Backtrace::capture();
    let frames = match trace.status() {
        BacktraceStatus::Captured => panic_frames(&trace.to_string()),
        _ => Vec::new(),
    };
    state.1 = Some(Caught { place, message: text_of(info.payload()).to_owned(), frames });
    true
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a panic without a text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_place() {
        let error = guarded::<()>("train", || panic!("boom {}", 7)).unwrap_err();
        let Some(Error::Panicked { what: "train", place, message }) = error.downcast_ref() else {
            panic!("{error}")
        };
        assert!(place.contains("panics.rs:"), "{place}");
        assert_eq!(message, "boom 7");
    }

    #[test]
    fn the_end_of_a_dry_run_is_a_cancellation() {
        let end = || std::panic::resume_unwind(Box::new(DryRunEnded));
        let error = guarded::<()>("train", end).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)), "{error}");
    }

    #[test]
    fn results_without_a_panic_pass_through() {
        assert_eq!(guarded("train", || Ok(3)).unwrap(), 3);
        assert_eq!(guarded::<()>("train", || anyhow::bail!("no")).unwrap_err().to_string(), "no");
    }
}
