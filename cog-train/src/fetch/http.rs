//! Downloads: streamed, resumed, tried again, and cancelled within a moment.
//!
//! A thread does the talking (`talk`) and sends what it hears over a channel; this side writes, counts and looks at the
//! token. When it gives up it shuts the thread's sockets.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode, header};

use super::Fetcher;
use super::address::Address;
use super::part::{Part, Tag};
use super::store::Store;
use super::talk::{Broken, Event, Head, talk};
use crate::error::{Error, plain_io};
use crate::progress::{CancelToken, Report};

/// The bytes after which an attempt that broke off does not count; fewer would let a server drag it out.
const GETS_ON: u64 = 1 << 20;
/// How often the token is looked at while the server is silent.
const POLL: Duration = Duration::from_millis(100);
/// The longest wait between attempts, also when the server asks for more.
const WAIT_MOST: Duration = Duration::from_secs(30);
/// How often progress is told.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What ends an attempt without the file.
enum Failure {
    /// Worth another try, after the wait that the server asked for.
    Again(String, Option<Duration>),
    /// What is there does not go on; from the start, at once.
    Restart,
    /// The same every time.
    For(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

enum Success {
    /// The part is whole; the tag of its content, if there is one.
    Whole(Option<String>),
    /// What is kept is still the same.
    Unchanged,
}

pub(super) fn download(
    fetcher: &Fetcher,
    address: &Address,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<PathBuf, Error> {
    let store = Store::new(&fetcher.dir);
    // A digest says what the content is, so nobody need be asked whether it is still the same.
    let ask = fetcher.revalidate && address.sha256.is_none();
    if !ask && let Some((_, path)) = store.find(address, cancel)? {
        return Ok(path);
    }
    if let Some(path) = store.find_content(address, cancel)? {
        return Ok(path);
    }
    let mut part = Part::open(&fetcher.dir, &address.url, cancel)?;
    // Whoever had the part before may have finished it.
    let known = match store.find(address, cancel) {
        Ok(known) => known,
        Err(error) => return Err(give_up(part, error)),
    };
    if !ask && let Some((_, path)) = known {
        part.discard();
        return Ok(path);
    }
    let etag = known.as_ref().and_then(|(known, _)| known.etag.clone());
    match attempts(fetcher, address, &mut part, etag.as_deref(), cancel, report) {
        Ok(Success::Whole(etag)) => store.keep(part, etag, address),
        Ok(Success::Unchanged) => {
            part.discard();
            known.map(|(_, path)| path).ok_or_else(|| {
                address.error("the server answered 304 Not Modified, and nothing of it is here")
            })
        }
        Err(error) => Err(give_up(part, error)),
    }
}

/// Keeps a part for another day when the address itself is not at fault.
fn give_up(part: Part, error: Error) -> Error {
    match error {
        Error::Fetch { ref reason, .. } if !reason.starts_with(GAVE_UP) => part.discard(),
        _ => part.leave(),
    }
    error
}

const GAVE_UP: &str = "gave up after ";

fn attempts(
    fetcher: &Fetcher,
    address: &Address,
    part: &mut Part,
    known: Option<&str>,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Success, Error> {
    let agent = agent(fetcher);
    let mut failed = 0;
    let mut restarts = 0;
    loop {
        let before = part.length;
        let tried = attempt(&agent, fetcher, address, part, known, cancel, report);
        let (reason, wait) = match tried {
            Ok(success) => return Ok(success),
            Err(Failure::For(error)) => {
                agent.shutdown();
                return Err(error);
            }
            Err(Failure::Restart) if restarts < fetcher.attempts => {
                restarts += 1;
                part.restart(None)?;
                continue;
            }
            Err(Failure::Restart) => {
                return Err(address.error("the content changes while it is fetched"));
            }
            Err(Failure::Again(reason, wait)) => (reason, wait),
        };
        // A large file over a bad line may break often, as long as it gets on.
        let gets_on = part.tag.is_some() && part.length >= before + GETS_ON;
        failed = if gets_on { 1 } else { failed + 1 };
        if failed >= fetcher.attempts {
            let times = if failed == 1 { "1 attempt" } else { &format!("{failed} attempts") };
            return Err(address.error(format!("{GAVE_UP}{times}: {reason}")));
        }
        let pause = fetcher.backoff.saturating_mul(1 << (failed - 1).min(16));
        sleep(wait.unwrap_or(pause).min(WAIT_MOST), cancel)?;
        if part.tag.is_none() {
            part.restart(None)?;
        }
    }
}

fn agent(fetcher: &Fetcher) -> ureq::Agent {
    // A header cannot hold anything else, and ureq trusts us to know.
    let fits =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let name = std::env::var("COG_USER_AGENT").ok().filter(fits);
    let name = name.unwrap_or_else(|| concat!("cog-train/", env!("CARGO_PKG_VERSION")).to_owned());
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        // `talk` follows them: it looks where they lead.
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
    known: Option<&str>,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Success, Failure> {
    let from = part.length;
    // A packed transfer has other offsets than the file, and cannot be resumed.
    let mut headers = vec![(header::ACCEPT_ENCODING, "identity".to_owned())];
    match (&part.tag, known) {
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
        .spawn(move || talk(&agent, url, &headers, timeout, &sender))
        .map_err(|error| Failure::Again(plain_io(&error), None))?;

    let head = match next(&events, cancel)? {
        Event::Head(head) => head,
        Event::Broken(broken) => return Err(failure(broken, address)),
        Event::Bytes(_) | Event::End => unreachable!("the head comes first"),
    };
    let Some((etag, total)) = accept(&head, part, address)? else {
        return Ok(Success::Unchanged);
    };
    let over = |bytes: u64| {
        let limit = fetcher.limit;
        Failure::For(address.error(format!("has {bytes} bytes, more than the limit of {limit}")))
    };
    if let Some(total) = total.filter(|&total| total > fetcher.limit) {
        return Err(over(total));
    }
    if from == 0 || head.status != StatusCode::PARTIAL_CONTENT {
        let tag = strong(etag.as_deref()).zip(total);
        part.restart(tag.map(|(etag, total)| Tag { etag: etag.to_owned(), total }))?;
    }

    let mut told = Instant::now();
    report.progress("bytes", part.length, total.unwrap_or(0));
    loop {
        match next(&events, cancel)? {
            Event::Bytes(bytes) => {
                let length = part.length + bytes.len() as u64;
                if length > fetcher.limit {
                    return Err(Failure::For(
                        address
                            .error(format!("has more bytes than the limit of {}", fetcher.limit)),
                    ));
                }
                part.append(&bytes)?;
                if told.elapsed() >= REPORT_EVERY {
                    told = Instant::now();
                    report.progress("bytes", part.length, total.unwrap_or(0));
                }
            }
            Event::End => break,
            Event::Broken(broken) => return Err(failure(broken, address)),
            Event::Head(_) => unreachable!("the head comes once"),
        }
    }
    match total {
        Some(total) if part.length != total => Err(Failure::Again(
            format!("the connection ended after {} of {total} bytes", part.length),
            None,
        )),
        _ => {
            report.progress("bytes", part.length, part.length);
            Ok(Success::Whole(etag))
        }
    }
}

/// The tag and the total length of an answer with content; `None` is "not changed".
#[expect(clippy::type_complexity, reason = "two optional values, named in the doc")]
fn accept(
    head: &Head,
    part: &Part,
    address: &Address,
) -> Result<Option<(Option<String>, Option<u64>)>, Failure> {
    if let Some(encoding) = text(&head.headers, header::CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(Failure::For(address.error(format!(
            "the server packs the content by `{encoding}`, which was not asked for"
        ))));
    }
    let etag = text(&head.headers, header::ETAG).map(str::to_owned);
    match head.status {
        StatusCode::OK => Ok(Some((etag, head.length))),
        StatusCode::NOT_MODIFIED if part.length == 0 => Ok(None),
        StatusCode::PARTIAL_CONTENT if part.length > 0 => {
            let tag = part.tag.as_ref().expect("only a tagged part is resumed");
            let range = text(&head.headers, header::CONTENT_RANGE);
            let wanted = format!("bytes {}-{}/{}", part.length, tag.total - 1, tag.total);
            if range != Some(&wanted) || etag.as_ref().is_some_and(|etag| *etag != tag.etag) {
                return Err(Failure::Restart);
            }
            Ok(Some((Some(tag.etag.clone()), Some(tag.total))))
        }
        StatusCode::RANGE_NOT_SATISFIABLE if part.length > 0 => Err(Failure::Restart),
        status @ (StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT) => {
            let wait = text(&head.headers, header::RETRY_AFTER).and_then(|text| text.parse().ok());
            Err(Failure::Again(
                format!("the server answered {status}"),
                wait.map(Duration::from_secs),
            ))
        }
        status => Err(Failure::For(address.error(format!("the server answered {status}")))),
    }
}

/// A tag that promises the same bytes. A weak one, `W/"..."`, does not.
fn strong(etag: Option<&str>) -> Option<&str> {
    etag.filter(|etag| etag.starts_with('"'))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn next(events: &Receiver<Event>, cancel: &CancelToken) -> Result<Event, Error> {
    loop {
        cancel.check()?;
        match events.recv_timeout(POLL) {
            Ok(event) => return Ok(event),
            Err(RecvTimeoutError::Timeout) => {}
            // The thread cannot end without a last event, unless it panicked.
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Event::Broken(Broken::Again("no connection".to_owned())));
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

fn failure(broken: Broken, address: &Address) -> Failure {
    match broken {
        Broken::Again(reason) => Failure::Again(reason, None),
        Broken::Always(reason) => Failure::For(address.error(reason)),
    }
}
