//! Work that cannot be interrupted, on a thread of its own: cancellation does not wait for it.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::error::Error;
use crate::progress::CancelToken;

/// The interval between two reads of the token.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Runs `work` and returns its result. If the run is cancelled first, the thread is detached: it holds nothing that is
/// needed, and ends with the process if not before.
///
/// # Errors
///
/// [`Error::Cancelled`]; [`Error::Thread`] when no thread can be spawned.
pub(crate) fn cancellable<T: Send + 'static>(
    cancel: &CancelToken,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    cancel.check()?;
    let (sender, receiver) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("prepare".to_owned())
        // The receiver is gone if the run was cancelled.
        .spawn(move || drop(sender.send(work())))
        .map_err(|source| Error::Thread { task: "prepares data", source })?;
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => cancel.check()?,
            // It ended without a result: it panicked.
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
    fn a_result_is_returned_and_a_panic_is_propagated() {
        let cancel = CancelToken::new();
        assert_eq!(cancellable(&cancel, || 7).unwrap(), 7);
        let caught =
            std::panic::catch_unwind(|| cancellable(&CancelToken::new(), || panic!("seven")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"seven"));
    }

    #[test]
    fn cancellation_does_not_wait_for_the_work() {
        let cancel = CancelToken::new();
        let token = cancel.clone();
        let (release, held) = channel::<()>();
        let given = cancellable(&cancel, move || {
            token.cancel();
            // Until the test is over.
            held.recv()
        });
        assert!(matches!(given, Err(Error::Cancelled)));
        drop(release);
        assert!(matches!(cancellable(&cancel, || 7), Err(Error::Cancelled)), "nothing is started");
    }
}
