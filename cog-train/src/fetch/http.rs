//! Downloads: streamed, resumed, tried again, and cancelled within a moment.
//!
//! A read from a socket cannot be interrupted, so a thread does the talking and sends what it hears over a channel;
//! this side writes, counts and looks at the token. When it gives up it shuts the thread's sockets.

use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode, header};

use super::Fetcher;
use super::address::Address;
use super::store::{Part, Store, Tag};
use crate::error::{Error, plain_io};
use crate::progress::{CancelToken, Report};

const REDIRECTS: u32 = 10;
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
    let kept = |cancel| match store.find(address, cancel)? {
        Some(found) => Ok::<_, Error>(Some(found)),
        None => Ok(None),
    };
    if !ask && let Some((_, path)) = kept(cancel)? {
        return Ok(path);
    }
    if let Some(path) = store.find_content(address, cancel)? {
        return Ok(path);
    }
    let mut part = store.part(address, cancel)?;
    // Whoever had the part before may have finished it.
    let known = match kept(cancel) {
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
            Ok(known.expect("only what is kept can be unchanged").1)
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
        failed = if part.tag.is_some() && part.length > before { 1 } else { failed + 1 };
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
    let name = std::env::var("COG_USER_AGENT").ok().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| concat!("cog-train/", env!("CARGO_PKG_VERSION")).to_owned());
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
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
    let mut request = agent
        .get(&address.url)
        // A packed transfer has other offsets than the file, and cannot be resumed.
        .header(header::ACCEPT_ENCODING, "identity");
    match (&part.tag, known) {
        (Some(tag), _) if from > 0 => {
            request = request
                .header(header::RANGE, format!("bytes={from}-"))
                .header(header::IF_RANGE, &tag.etag);
        }
        (_, Some(etag)) => request = request.header(header::IF_NONE_MATCH, etag),
        _ => {}
    }
    let (sender, events) = sync_channel(4);
    std::thread::Builder::new()
        .name("fetch".to_owned())
        .spawn(move || talk(request, &sender))
        .map_err(|error| Failure::Again(plain_io(&error), None))?;

    let head = match next(&events, cancel)? {
        Event::Head(head) => head,
        Event::Broken(error) => return Err(failure(&error, fetcher, address)),
        Event::Bytes(_) | Event::End => unreachable!("the head comes first"),
    };
    let (etag, total) = match accept(&head, part, address)? {
        Some(accepted) => accepted,
        None => return Ok(Success::Unchanged),
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
            Event::Broken(error) => return Err(failure(&error, fetcher, address)),
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

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    /// Bytes to come. Unknown for a chunked or packed transfer, which is then not resumed either.
    length: Option<u64>,
}

enum Event {
    Head(Head),
    Bytes(Vec<u8>),
    End,
    Broken(ureq::Error),
}

/// The thread: asks, and sends the answer piece by piece until nobody listens.
fn talk(request: ureq::RequestBuilder<ureq::typestate::WithoutBody>, events: &SyncSender<Event>) {
    let mut answer = match request.call() {
        Ok(answer) => answer,
        Err(error) => return drop(events.send(Event::Broken(error))),
    };
    let length = answer.body().content_length();
    let head = Head { status: answer.status(), headers: answer.headers().clone(), length };
    if events.send(Event::Head(head)).is_err() {
        return;
    }
    let mut body = answer.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let event = match body.read(&mut buffer) {
            Ok(0) => Event::End,
            Ok(count) => Event::Bytes(buffer[..count].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Event::Broken(error.into()),
        };
        let last = !matches!(event, Event::Bytes(_));
        if events.send(event).is_err() || last {
            return;
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
                return Ok(Event::Broken(ureq::Error::ConnectionFailed));
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

/// ureq's errors in our words; none of them shows the address.
fn failure(error: &ureq::Error, fetcher: &Fetcher, address: &Address) -> Failure {
    use ureq::Error as E;
    let reason = match error {
        E::Timeout(_) => {
            let wait = fetcher.timeout.as_secs_f64();
            return Failure::Again(format!("the server was silent for {wait} seconds"), None);
        }
        E::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Failure::Again("the connection ended early".to_owned(), None);
        }
        E::Io(error) => return Failure::Again(plain_io(error), None),
        E::ConnectionFailed => return Failure::Again("no connection".to_owned(), None),
        E::HostNotFound => "the host is not known".to_owned(),
        E::TooManyRedirects => format!("more than {REDIRECTS} redirects"),
        E::RedirectFailed => "the server redirects to nowhere".to_owned(),
        E::BadUri(_) | E::Http(_) => "not a valid address".to_owned(),
        E::Decompress(..) => "the server's gzip data is corrupt".to_owned(),
        E::LargeResponseHeader(..) => "the server's answer has too many headers".to_owned(),
        E::Protocol(error) => format!("the server does not speak HTTP: {error}"),
        other => other.to_string(),
    };
    Failure::For(address.error(reason))
}
