//! The exchange with a server: a request and its answer, polled for cancellation, and repeated when it fails for a while.
//!
//! A thread does the network side (`request`) and sends events over a channel; this side polls the token. When it gives up it
//! shuts the thread's sockets.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::DefaultConnector;

use super::Fetcher;
use super::address::Address;
use super::answer::{Failure, failure};
use super::public::CheckedResolver;
use super::request::{Event, Head, Request, RequestError, send};
use crate::error::{Error, counted, plain_io};
use crate::progress::CancelToken;

/// The interval at which the token is polled while the server is silent.
const POLL: Duration = Duration::from_millis(100);
/// The longest pause between attempts, whatever `Retry-After` says.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The beginning of the reason for which [`retry`] gave up.
pub(super) const GAVE_UP: &str = "gave up after ";

/// The reasons to stop an exchange early.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) address: &'a Address,
    pub(super) cancel: &'a CancelToken,
}

impl Watch<'_> {
    /// Fails once the fetch is cancelled or its time is over.
    fn check(self) -> Result<(), Error> {
        self.cancel.check()?;
        match self.fetcher.deadline {
            Some(deadline) if deadline.is_over() => {
                let time = counted(deadline.allowed.as_secs_f64(), "second");
                let reason = format!("{GAVE_UP}{time}, the most that all files together may take");
                Err(self.address.error(reason))
            }
            _ => Ok(()),
        }
    }

    fn sleep(self, pause: Duration) -> Result<(), Error> {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.check()?;
            std::thread::sleep(left.min(POLL));
        }
        self.check()
    }
}

/// The head of an answer, and the events of its body.
pub(super) struct Exchange<'a> {
    pub(super) head: Head,
    events: Receiver<Event>,
    watch: Watch<'a>,
}

impl<'a> Exchange<'a> {
    /// Sends a request and waits for the head of its answer.
    pub(super) fn start(
        agent: &ureq::Agent,
        request: Request,
        watch: Watch<'a>,
    ) -> Result<Self, Failure> {
        let (sender, events) = sync_channel(4);
        let (agent, timeout) = (agent.clone(), watch.fetcher.timeout);
        std::thread::Builder::new()
            .name("fetch".to_owned())
            .spawn(move || send(&agent, &request, timeout, &sender))
            .map_err(|error| Failure::retry(plain_io(&error)))?;
        match next(&events, watch)? {
            Event::Head(head) => Ok(Self { head, events, watch }),
            Event::Failed(error) => Err(failure(error, watch.address)),
            Event::Bytes(_) | Event::End => unreachable!("the head comes first"),
        }
    }

    /// Returns the next event.
    pub(super) fn next(&self) -> Result<Event, Error> {
        next(&self.events, self.watch)
    }
}

fn next(events: &Receiver<Event>, watch: Watch) -> Result<Event, Error> {
    loop {
        watch.check()?;
        match events.recv_timeout(POLL) {
            Ok(event) => return Ok(event),
            Err(RecvTimeoutError::Timeout) => {}
            // The thread cannot end without a last event, unless it panicked.
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Event::Failed(RequestError::Transient("no connection".to_owned())));
            }
        }
    }
}

/// Repeats `attempt` until it succeeds, fails for good, or has failed as often as it may.
pub(super) fn retry<T>(
    fetcher: &Fetcher,
    address: &Address,
    cancel: &CancelToken,
    mut attempt: impl FnMut(&ureq::Agent) -> Result<T, Failure>,
) -> Result<T, Error> {
    let watch = Watch { fetcher, address, cancel };
    let agent = agent(fetcher);
    let mut failed = 0;
    let mut restarts = 0;
    loop {
        let (reason, pause) = match attempt(&agent) {
            Ok(success) => return Ok(success),
            Err(Failure::Fatal(error)) => {
                agent.shutdown();
                return Err(error);
            }
            Err(Failure::Restart) if restarts < fetcher.attempts => {
                restarts += 1;
                continue;
            }
            Err(Failure::Restart) => {
                return Err(address.error("the content changes during the download"));
            }
            Err(Failure::Retry { reason, pause, progressed }) => {
                failed = if progressed { 1 } else { failed + 1 };
                (reason, pause)
            }
        };
        if failed >= fetcher.attempts {
            let times = counted(failed, "attempt");
            return Err(address.error(format!("{GAVE_UP}{times}: {reason}")));
        }
        let backoff = fetcher.backoff.saturating_mul(1 << (failed - 1).min(16));
        watch.sleep(pause.unwrap_or(backoff).min(MAX_PAUSE))?;
    }
}

fn agent(fetcher: &Fetcher) -> ureq::Agent {
    // A header cannot hold anything else, and ureq does not check.
    let fits =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let name = std::env::var("COG_USER_AGENT").ok().filter(fits);
    let name = name.unwrap_or_else(|| concat!("cog-train/", env!("CARGO_PKG_VERSION")).to_owned());
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // `request` follows them, and checks where they lead.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(name)
        .timeout_resolve(Some(fetcher.timeout))
        .timeout_connect(Some(fetcher.timeout))
        .timeout_recv_response(Some(fetcher.timeout))
        .timeout_per_read(Some(fetcher.timeout));
    if let Some(allows) = fetcher.hosts {
        // A proxy would resolve the names itself.
        let config = config.proxy(None).build();
        let resolver = CheckedResolver::new(allows);
        return ureq::Agent::with_parts(config, DefaultConnector::default(), resolver);
    }
    config.build().new_agent()
}
