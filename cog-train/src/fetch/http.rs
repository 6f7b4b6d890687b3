//! Downloads: streamed, resumed, retried, and cancelled within a second.
//!
//! A thread does the network side (`request`) and sends events over a channel; this side writes, counts and polls the
//! token. When it gives up it shuts the thread's sockets.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use ureq::http::{StatusCode, header};

use super::Fetcher;
use super::address::Address;
use super::answer::{Content, Failure, accept, failure, strong};
use super::part::{Part, Tag};
use super::request::{Event, RequestError, send};
use super::store::Store;
use crate::error::{Error, counted, plain_io};
use crate::progress::{CancelToken, Report};

/// The bytes after which an interrupted attempt does not count as failed; fewer would let a server drag it out.
const PROGRESS_BYTES: u64 = 1 << 20;
/// The interval at which the token is polled while the server is silent.
const POLL: Duration = Duration::from_millis(100);
/// The longest pause between attempts, whatever `Retry-After` says.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The interval of progress reports.
const REPORT_EVERY: Duration = Duration::from_millis(100);

enum Success {
    /// The part is complete; the tag of its content, if there is one.
    Complete(Option<String>),
    /// The cached file is current.
    Unchanged,
}

pub(super) fn download(
    fetcher: &Fetcher,
    address: &Address,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<PathBuf, Error> {
    let store = Store::open(&fetcher.dir);
    // A digest fixes the content, so there is nothing to revalidate.
    let revalidate = fetcher.revalidate && address.sha256.is_none();
    if !revalidate && let Some(found) = store.find(address, cancel)? {
        return Ok(found.path);
    }
    if let Some(path) = store.find_content(address, cancel)? {
        return Ok(path);
    }
    let mut part = store.part(address, cancel)?;
    // The last holder of the part may have completed it.
    let cached = match store.find(address, cancel) {
        Ok(cached) => cached,
        Err(error) => return Err(give_up(part, error)),
    };
    if !revalidate && let Some(found) = cached {
        part.discard();
        return Ok(found.path);
    }
    let etag = cached.as_ref().and_then(|found| found.etag.clone());
    match attempts(fetcher, address, &mut part, etag.as_deref(), cancel, report) {
        Ok(Success::Complete(etag)) => store.keep(part, etag, address),
        Ok(Success::Unchanged) => {
            part.discard();
            cached.map(|found| found.path).ok_or_else(|| {
                address.error("the server answered 304 Not Modified, and nothing is cached")
            })
        }
        Err(error) => Err(give_up(part, error)),
    }
}

/// Keeps a part for a later resume unless the address itself is at fault.
fn give_up(part: Part, error: Error) -> Error {
    match error {
        Error::Fetch { ref reason, .. } if !reason.starts_with(GAVE_UP) => part.discard(),
        _ => part.suspend(),
    }
    error
}

const GAVE_UP: &str = "gave up after ";

fn attempts(
    fetcher: &Fetcher,
    address: &Address,
    part: &mut Part,
    cached_etag: Option<&str>,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Success, Error> {
    let agent = agent(fetcher);
    let mut failed = 0;
    let mut restarts = 0;
    loop {
        let before = part.length;
        let result = attempt(&agent, fetcher, address, part, cached_etag, cancel, report);
        let (reason, wait) = match result {
            Ok(success) => return Ok(success),
            Err(Failure::Fatal(error)) => {
                agent.shutdown();
                return Err(error);
            }
            Err(Failure::Restart) if restarts < fetcher.attempts => {
                restarts += 1;
                part.restart(None)?;
                continue;
            }
            Err(Failure::Restart) => {
                return Err(address.error("the content changes during the download"));
            }
            Err(Failure::Retry(reason, wait)) => (reason, wait),
        };
        // A large file over a bad line may be interrupted often, as long as it makes progress.
        let progressed = part.tag.is_some() && part.length >= before + PROGRESS_BYTES;
        failed = if progressed { 1 } else { failed + 1 };
        if failed >= fetcher.attempts {
            let times = counted(failed, "attempt");
            return Err(address.error(format!("{GAVE_UP}{times}: {reason}")));
        }
        let pause = fetcher.backoff.saturating_mul(1 << (failed - 1).min(16));
        sleep(wait.unwrap_or(pause).min(MAX_PAUSE), cancel)?;
        if part.tag.is_none() {
            part.restart(None)?;
        }
    }
}

fn agent(fetcher: &Fetcher) -> ureq::Agent {
    // A header cannot hold anything else, and ureq does not check.
    let fits =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let name = std::env::var("COG_USER_AGENT").ok().filter(fits);
    let name = name.unwrap_or_else(|| concat!("cog-train/", env!("CARGO_PKG_VERSION")).to_owned());
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        // `request` follows them, and checks where they lead.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(name)
        .timeout_resolve(Some(fetcher.timeout))
        .timeout_connect(Some(fetcher.timeout))
        .timeout_recv_response(Some(fetcher.timeout))
        .timeout_per_read(Some(fetcher.timeout))
        .build()
        .new_agent()
}

fn attempt(
    agent: &ureq::Agent,
    fetcher: &Fetcher,
    address: &Address,
    part: &mut Part,
    cached_etag: Option<&str>,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Success, Failure> {
    let from = part.length;
    // A compressed transfer has other offsets than the file, and cannot be resumed.
    let mut headers = vec![(header::ACCEPT_ENCODING, "identity".to_owned())];
    match (&part.tag, cached_etag) {
        (Some(tag), _) if from > 0 => {
            headers.push((header::RANGE, format!("bytes={from}-")));
            headers.push((header::IF_RANGE, tag.etag.clone()));
        }
        (_, Some(etag)) => headers.push((header::IF_NONE_MATCH, etag.to_owned())),
        _ => {}
    }
    let (sender, events) = sync_channel(4);
    let (agent, url, timeout) = (agent.clone(), address.url.clone(), fetcher.timeout);
    std::thread::Builder::new()
        .name("fetch".to_owned())
        .spawn(move || send(&agent, url, &headers, timeout, &sender))
        .map_err(|error| Failure::Retry(plain_io(&error), None))?;

    let head = match next(&events, cancel)? {
        Event::Head(head) => head,
        Event::Failed(error) => return Err(failure(error, address)),
        Event::Bytes(_) | Event::End => unreachable!("the head comes first"),
    };
    let Some(Content { etag, length: total }) = accept(&head, part, address)? else {
        return Ok(Success::Unchanged);
    };
    let over = |bytes: u64| {
        let limit = fetcher.limit;
        Failure::Fatal(address.error(format!("has {bytes} bytes, more than the limit of {limit}")))
    };
    if let Some(total) = total.filter(|&total| total > fetcher.limit) {
        return Err(over(total));
    }
    if from == 0 || head.status != StatusCode::PARTIAL_CONTENT {
        let tag = strong(etag.as_deref()).zip(total);
        part.restart(tag.map(|(etag, total)| Tag { etag: etag.to_owned(), total }))?;
    }

    let mut reported = Instant::now();
    report.progress("bytes", part.length, total.unwrap_or(0));
    loop {
        match next(&events, cancel)? {
            Event::Bytes(bytes) => {
                let length = part.length + bytes.len() as u64;
                if length > fetcher.limit {
                    return Err(Failure::Fatal(
                        address
                            .error(format!("has more bytes than the limit of {}", fetcher.limit)),
                    ));
                }
                part.append(&bytes)?;
                if reported.elapsed() >= REPORT_EVERY {
                    reported = Instant::now();
                    report.progress("bytes", part.length, total.unwrap_or(0));
                }
            }
            Event::End => break,
            Event::Failed(error) => return Err(failure(error, address)),
            Event::Head(_) => unreachable!("the head comes once"),
        }
    }
    match total {
        Some(total) if part.length != total => Err(Failure::Retry(
            format!("the connection ended after {} of {}", part.length, counted(total, "byte")),
            None,
        )),
        _ => {
            report.progress("bytes", part.length, part.length);
            Ok(Success::Complete(etag))
        }
    }
}

fn next(events: &Receiver<Event>, cancel: &CancelToken) -> Result<Event, Error> {
    loop {
        cancel.check()?;
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

fn sleep(pause: Duration, cancel: &CancelToken) -> Result<(), Error> {
    let until = Instant::now() + pause;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        cancel.check()?;
        std::thread::sleep(left.min(POLL));
    }
    cancel.check()
}
