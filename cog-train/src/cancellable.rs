//! Work that cannot be asked to stop, done on a thread of its own: a wish to stop does not wait for it.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::error::Error;
use crate::progress::CancelToken;

/// How often the wish to stop is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// What `work` gives. When the end is asked for before that, its thread is left to itself: it holds nothing that is
/// needed, and ends with the process if not before.
///
/// # Errors
///
/// [`Error::Cancelled`]; [`Error::Thread`] when there is no thread to be had.
pub(crate) fn aside<T: Send + 'static>(
    cancel: &CancelToken,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    cancel.check()?;
    let (sender, receiver) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("prepare".to_owned())
        // Nobody may be listening any more.
        .spawn(move || drop(sender.send(work())))
        .map_err(|source| Error::Thread { task: "prepares data", source })?;
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => cancel.check()?,
            // It ended without a word: it panicked.
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(payload) => resume_unwind(payload),
                Ok(()) => return Err(Error::Cancelled),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_is_done_is_given_and_a_panic_goes_on() {
        let cancel = CancelToken::new();
        assert_eq!(aside(&cancel, || 7).unwrap(), 7);
        let caught = std::panic::catch_unwind(|| aside(&CancelToken::new(), || panic!("seven")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"seven"));
    }

    #[test]
    fn a_wish_to_stop_waits_for_nothing() {
        let cancel = CancelToken::new();
        let token = cancel.clone();
        let (release, held) = channel::<()>();
        let given = aside(&cancel, move || {
            token.cancel();
            // Until the test is over.
            held.recv()
        });
        assert!(matches!(given, Err(Error::Cancelled)));
        drop(release);
        assert!(matches!(aside(&cancel, || 7), Err(Error::Cancelled)), "nothing is begun");
    }
}
